"""The page of a comparison holds every figure, escapes what it is given, and draws its plots in a real browser."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from agenttts.budgets.cost import Cost, Unit
from agenttts.report.comparison_page import comparison_page
from agenttts.report.comparison_words import pair_table
from agenttts.report.pages import embedded, escaped
from agenttts.study.comparison import compare_records
from agenttts.study.comparison_runs import ComparisonResult, RunOutcome
from agenttts.study.comparison_values import RunRecord
from tests.report.browsing import HOSTILE, rendered, without_scripts

SOURCE = "Figures come from simulated models. A simulation says nothing about real models."


def result(names: tuple[str, ...] = ("quick", "slow"), message: str = "") -> ComparisonResult:
    records = [
        RunRecord(
            name,
            seed,
            tuple([0.5] * (i + 1) + [0.8 if i < 2 else 0.6] * (5 - i)),
            tuple(2.0 ** (j + 1) for j in range(6)),
            test={f"p{k}": float((k + seed) % (i + 2) > 0) for k in range(10)},
        )
        for i, name in enumerate(names)
        for seed in range(9)
    ]
    runs = [RunOutcome(record.allocator, record.seed, Path("x"), "finished") for record in records]
    runs.append(RunOutcome(names[0], 9, Path("x"), "failed", message or "the server is down", 4))
    return ComparisonResult(
        compare_records(records), tuple(runs), Path("out"), Unit.GFLOPS, Cost(9e12), Cost(2e12), SOURCE
    )


def made(**more) -> str:
    return comparison_page(result(**more), title="Allocators compared", asked="2 allocators, 9 seeds each")


def test_the_page_tells_its_figures_without_javascript():
    text = without_scripts(made())
    for part in (
        "quick needs fewer trials",
        "2 [2, 2]",  # trials to the target
        "within 0.01 of the best score that any run found, 0.800",
        "spent 9,000 GFLOPs, had each study been alone; really paid 2,000 GFLOPs".capitalize(),
        "the server is down",
        "Draws are numbered and kept, so all studies see the same draws",
        "Holm",
        SOURCE,
    ):
        assert part.lower() in text.lower(), part


def test_the_page_asks_the_network_for_nothing():
    text = made()
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=", without_scripts(text))
    assert not re.search(r"<script[^>]+src", text)


def test_what_is_written_by_others_is_no_markup():
    text = made(names=(HOSTILE, "slow"), message=HOSTILE)
    assert "<img" not in without_scripts(text)
    assert "document.title='owned'</script>" not in text
    assert "&lt;img src=x" in text


def test_nothing_in_embedded_data_can_end_a_script():
    assert embedded({"a": "</script><!--&"}) == '{"a":"\\u003c/script\\u003e\\u003c!--\\u0026"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded(math.inf)


def test_control_characters_are_not_shown():
    assert escaped("a\x1b[31mb\u202ec") == "a [31mb c"


def test_without_a_finished_study_the_page_says_so():
    nothing = ComparisonResult(None, (), Path("out"), Unit.GFLOPS, Cost(), Cost(), SOURCE)
    text = comparison_page(nothing, title="t", asked="a")
    assert "there is nothing to compare" in text
    assert "script-src 'none'" in text


def test_the_same_result_gives_the_same_page():
    assert made() == made()


def test_a_browser_draws_every_plot_and_runs_nothing_foreign(tmp_path: Path):
    dom = rendered(made(names=(HOSTILE, "slow")), tmp_path)
    assert dom.count('class="plot js-plotly-plot"') == 4
    assert "The plot needs JavaScript" not in dom
    assert "<title>Allocators compared</title>" in dom
    assert "owned'\"></script>" not in dom


def test_without_javascript_a_note_stands_in_place_of_the_plots():
    text = without_scripts(made())
    assert "<noscript><style>.scripted { display: none; }</style></noscript>" in text
    assert text.count('<section class="scripted">') == text.count('class="plot"') == 4
    assert text.count("The plots need JavaScript") == 1


def test_a_ratio_to_what_was_not_reached_is_told_by_its_bound():
    def text(*runs: tuple[str, tuple[float, ...]]) -> str:
        records = [
            RunRecord(name, seed, best, tuple(range(1, len(best) + 1)))
            for name, best in runs
            for seed in range(5)
        ]
        (row, *_) = pair_table(compare_records(records))[1]
        return row[2]

    early, never = (0.5, 0.5, 0.8, 0.8), (0.5,) * 6
    assert text(("a", early), ("b", never)) == "below 0.50 [unknown, unknown]"  # 3 trials, and more than 6
    assert text(("a", never), ("b", early)) == "above 2.00 [unknown, unknown]"
    assert text(("a", early), ("b", early)) == "1.00 [1.00, 1.00]"
    assert text(("c", never), ("b", never), ("a", early)) == "unknown: neither reached it"
