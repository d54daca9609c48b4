"""The frame of all pages: what it carries, and what it lets through."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from importlib.resources import files
from pathlib import Path

from agenttts.report.pages import (
    Part,
    amounts_axis,
    details,
    figure,
    page,
    parts_page,
    table,
    titled,
    upright,
)
from tests.report.browsing import HOSTILE, looked_at

ASSETS = files("agenttts.report").joinpath("assets")


def plot(identity: str = "one"):
    return figure(identity, "One", [{"x": [1, 2], "y": [1, 2]}], titled("x"), titled("y"))


def test_the_library_is_the_published_bundle_and_its_licence_lies_beside_it():
    script = gzip.decompress(ASSETS.joinpath("plotly-cartesian.min.js.gz").read_bytes())
    assert script.startswith(b"/**\n* plotly.js (cartesian - minified) v4.1.1\n")
    # of plotly-cartesian.min.js in the npm package plotly.js-cartesian-dist-min 4.1.1
    assert (
        hashlib.sha256(script).hexdigest()
        == "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
    )
    assert "MIT" in ASSETS.joinpath("plotly-LICENSE").read_text()


def test_the_policy_allows_the_scripts_of_the_page_by_their_digests_and_nothing_else():
    text = page("t", '<div class="plot" id="one"></div>', [plot()])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert all(f"'sha256-{digest}'" in policy for digest in digests)
    assert policy.count("sha256-") == len(scripts) + 1  # and the library, once it is unpacked


def test_a_script_that_came_in_by_a_hole_would_not_run(tmp_path: Path):
    body = f'<div class="plot" id="one"></div><script>document.title = "owned"</script>{HOSTILE}'
    seen = looked_at(page("t", body, [plot()]), tmp_path, ["document.title"])
    assert seen.answers == ["t"]
    assert any("Content Security Policy" in one for one in seen.complaints)
    assert [address for address in seen.requests if not address.startswith(("file:", "data:", "blob:"))] == []


def test_a_page_without_plots_and_long_tables_carries_no_script():
    text = page("t", table(["a"], [["b"]]), [])
    assert "<script" not in text
    assert "script-src 'none'" in text


def test_cells_and_summaries_are_text():
    assert "<img" not in table([HOSTILE], [[HOSTILE]], label=HOSTILE) + details(HOSTILE, [])
    assert "<img" not in parts_page(HOSTILE, [], [Part("a", HOSTILE, ())])


def test_amounts_far_apart_have_marks_at_one_two_and_five():
    axis = amounts_axis("USD", [0.02, 0.9])
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"]
    assert "type" not in amounts_axis("USD", [1.0, 9.0])
    assert "type" not in amounts_axis("USD", [])


def test_the_line_of_a_budget_stands_at_its_amount_on_an_axis_of_powers(tmp_path: Path):
    one = figure(
        "one", "One", [{"x": [0.01, 1.0], "y": [0, 1]}], amounts_axis("USD", [0.01, 1.0]), titled("y")
    )
    one["layout"]["shapes"] = [upright(0.1)]
    mark = "[...document.querySelectorAll('#one .xtick text')].find(one => one.textContent === '0.1').getBoundingClientRect()"
    line = "document.querySelector('#one .shapelayer path').getBoundingClientRect()"
    apart = f"{mark}.x + {mark}.width / 2 - {line}.x - {line}.width / 2"
    seen = looked_at(page("t", '<div class="plot" id="one"></div>', [one]), tmp_path, [apart])
    assert abs(seen.answers[0]) < 2


def test_charts_change_with_the_colours_that_the_user_prefers(tmp_path: Path):
    ink = "document.querySelector('#one .xtick text').style.fill"
    light, dark = (
        looked_at(
            page("t", '<div class="plot" id="one"></div>', [plot()]), tmp_path, [ink], is_dark=is_dark
        ).answers[0]
        for is_dark in (False, True)
    )
    assert (light, dark) == ("rgb(28, 36, 48)", "rgb(228, 233, 240)")


def test_heads_that_others_wrote_end_no_text_of_a_style():
    foul = "x';}</style>\\\"<img src=x onerror=alert(1)>"
    told = table([foul, "b", "c"], [["1", "2", "3"]])
    style = told.partition('<table style="')[2].partition('"')[0]
    assert style.count("'") == 6  # two for each of three heads
    assert not set("<>&}/") & set(style)
