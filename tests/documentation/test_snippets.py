"""What the pages of docs/ show works as shown: every page is gone through as a reader would."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import pytest

from agenttts.task.schema import ParseBlock, SelectBlock, VerifierBlock
from tests.documentation.running import Reader
from tests.snippets import ROOT, Block, blocks, commands, understand

DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.parent.name != "tasks"
)
EXAMPLES = DOCS / "examples"


def shown(page: str) -> list[Block]:
    """Return the blocks of a page."""
    return blocks((DOCS / page).read_text(encoding="utf-8"))


SHORT_RUN = "agenttts optimize tiny --trials 5 --search-problems 20 --no-confirm --run first"
"""What several pages begin with."""


@pytest.fixture(scope="module")
def draws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The draws of the short run, so that they are made once and not for every page."""
    folder = tmp_path_factory.mktemp("draws")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(folder)
        Reader(folder, patch, stack).do(Block("bash", SHORT_RUN))
    return folder / "runs" / "samples.sqlite"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_from_top_to_bottom(
    page: str, draws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if any(SHORT_RUN in block.text for block in shown(page)):
        (tmp_path / "runs").mkdir()
        shutil.copy(draws, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ExitStack() as stack:
        reader = Reader(tmp_path, monkeypatch, stack)
        for block in shown(page):
            try:
                reader.do(block)
            except Exception as error:
                raise AssertionError(f"docs/{page}, {block}:\n{block.text}") from error


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_is_shown_as_it_is(example: str):
    notes = {
        Path(block.note.removeprefix("file:").strip()).name: block for page in PAGES for block in shown(page)
    }
    assert notes[example].text == (EXAMPLES / example).read_text(encoding="utf-8"), (
        "run tools/docs_outputs.py"
    )


@pytest.mark.parametrize("page", sorted(path.name for path in (DOCS / "tasks").glob("*.md")))
def test_commands_on_pages_of_tasks_are_understood(page: str):
    for block in blocks((DOCS / "tasks" / page).read_text(encoding="utf-8")):
        for arguments in commands(block.text):
            understand(arguments)


def test_every_way_verifier_and_parse_rule_is_explained():
    told = "".join((DOCS / "howto" / page).read_text() for page in ("spend.md", "verifiers.md", "task.md"))
    kinds = [
        VerifierBlock.model_fields["kind"],
        SelectBlock.model_fields["kind"],
        ParseBlock.model_fields["rule"],
    ]
    for kind in (one for field in kinds for one in get_args(field.annotation)):
        assert f"`{kind}`" in told, kind


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (Block("bash", "agenttts optimize tiny --bugdet 1\n"), "bugdet"),
        (Block("bash", "agenttts check nowhere\n"), "nowhere"),
        (Block("bash", "agenttts check tiny\n", note="ends with 2"), "check"),
        (Block("bash", "curl http://example.org\n"), "curl: say"),
        (Block("python", "import agenttts\nagenttts.optimise()\n"), "optimise"),
        (Block("yaml", "select: [majorty]\n"), "majorty"),
        (
            Block("bash", "agenttts evaluate --no-such-option\n", note="not run: needs a model"),
            "no-such-option",
        ),
        (Block("text", "not what was said\n", note="output"), "it printed"),
    ],
    ids=str,
)
def test_a_page_that_is_wrong_is_noticed(
    block: Block, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=why):
        Reader(tmp_path, monkeypatch, ExitStack()).do(block)
