"""The site of the documentation: it builds without a warning, and nothing in it comes from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.browsing import looked_at
from tests.snippets import ROOT

if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
    pytest.skip("no mkdocs: pip install 'agenttts[docs]'", allow_module_level=True)

NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `mkdocs build --strict` makes it."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_NETWORK.items():
            patch.setenv(name, value)
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    return folder


def pages(site: Path) -> dict[str, str]:
    """Return the pages by their path."""
    return {
        page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")
    }


def test_every_page_of_the_folder_and_of_the_package_is_there(site: Path):
    found = set(pages(site))
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    wanted = {str(path).replace("README", "index") for path in written}
    assert wanted <= found
    assert {
        f"reference/{name}.html" for name in ("commands", "task", "cards", "allocators", "errors", "python")
    } <= found
    assert not [page for page in found if page.startswith("examples/")]


def test_scripts_styles_fonts_and_pictures_are_of_the_site_itself(site: Path):
    for name, text in pages(site).items():
        fetched = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\" >]+)", text
        )
        assert not fetched, f"{name}: {fetched}"
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\((?!data:)[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_names_that_the_package_promises_are_described(site: Path):
    import agenttts

    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in agenttts.__all__:
        assert name.startswith("__") or f'id="agenttts.{name}"' in text, name
    assert "Search for the allocation that scores best within a budget" in text


SEARCH = """(async () => {
    const query = document.querySelector("[data-md-component=search-query]");
    document.getElementById("__search").click();
    query.value = "hill climb"; query.focus(); query.dispatchEvent(new Event("keyup"));
    for (let i = 0; i < 100; i++) {
        const found = [...document.querySelectorAll(".md-search-result__link")].map((one) => one.getAttribute("href"));
        if (found.length) return found.join(" ");
        await new Promise((done) => setTimeout(done, 100));
    }
    return "nothing";
})()"""
"""Looks for words of the page on allocators, and tells the links that come up."""


def test_a_page_opened_from_disk_is_whole_asks_nobody_and_can_be_searched(site: Path):
    text = (site / "index.html").read_text(encoding="utf-8")
    seen = looked_at(text, site, ["document.querySelector('h1').innerText", SEARCH], width=1300)
    assert seen.answers[0].startswith("agenttts")
    assert "extending/allocator.html" in seen.answers[1]
    assert not [address for address in seen.requests if not address.startswith(("file:", "data:", "blob:"))]
    assert not seen.complaints
