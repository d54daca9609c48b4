"""The page of a diagnosis holds every figure, escapes what it is given, and draws its plots in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from agenttts.report.diagnosis_page import diagnosis_page
from agenttts.report.diagnosis_words import cell_words, plan_words
from agenttts.study.archive import Runaway, Unparsed, Unscored
from agenttts.study.diagnosis import CellDiagnosis, Diagnosis, Mix, WayDiagnosis, saturation
from agenttts.study.statistics import mean_interval, paired_difference
from agenttts.study.verifier_check import Labelled, selected_of
from tests.report.browsing import HOSTILE, rendered, without_scripts

SOURCE = "Figures come from simulated models. A simulation says nothing about real models."
DRAWS = [Labelled(f"p{i}", (0, 1, 1, 1), (1.0, 0.0, 0.0, 0.0), (0.9, 0.1, 0.2, 0.3)) for i in range(12)]
COUNTS = (1, 2, 4)


def curve(*shares: float) -> dict[int, dict[str, float]]:
    return {n: {f"p{i}": share for i in range(12)} for n, share in zip(COUNTS, shares, strict=True)}


def intervals(*shares: float):
    return {n: mean_interval([share] * 12) for n, share in zip(COUNTS, shares, strict=True)}


def way(name: str = "solve", label: str = "majority", cause: str = "no idea") -> WayDiagnosis:
    covered, vote = dict.fromkeys("abcdefghijkl", 1.0), dict.fromkeys("abcdefghijkl", 0.0)
    return WayDiagnosis(
        stage=name,
        model="rec/small",
        label=label,
        trial=3,
        n_samples=4,
        single=mean_interval([0.25] * 12),
        coverage=mean_interval([1.0] * 12),
        selected=mean_interval([0.0] * 12),
        gap=paired_difference(covered, vote),
        limited_by="selection",
        n_uncovered=0,
        n_misled=None,
        curve=intervals(0.25, 0.25, 0.0),
        saturation=saturation(curve(0.25, 0.25, 0.0)),
        verifier=selected_of(DRAWS, 4),
        auroc=None,
        unscored=Unscored(label, 12, 48, cause),
    )


def cell(name: str = "solve", label: str = "majority", example: str = "no idea") -> CellDiagnosis:
    return CellDiagnosis(
        stage=name,
        model="rec/small",
        trial=3,
        n_samples=4,
        n_problems=12,
        coverage=intervals(0.25, 0.5, 1.0),
        majority=intervals(0.25, 0.25, 0.0),
        saturation=saturation(curve(0.25, 0.5, 1.0)),
        mix=Mix(12, 0.0, 0.0, 1.0, mean_interval([1.0] * 12)),
        spread=0.3,
        unparsed=Unparsed("rec/small", 6, 48, example),
        runaway=Runaway("rec/small", 12, 48),
        ways=(way(name, label, example),),
    )


def made(name: str = "solve", label: str = "best_of_n(judge)", example: str = "no idea") -> Diagnosis:
    return Diagnosis(5, 3, (way(name, label),), (cell(name, label, example),), ("outline",))


def page(diagnosis: Diagnosis) -> str:
    return diagnosis_page(diagnosis, title="sums: diagnosis", figures_from=SOURCE)


def words(text: str) -> str:
    return re.sub(r"<[^>]+>", " ", without_scripts(text)).replace("&#x27;", "'")


def test_the_page_tells_its_figures_without_javascript():
    text = words(page(made()))
    for part in (
        "1.000 [0.758, 1.000] of problems have a right sample among 4 of rec/small",
        "Limited by selection: a verifier could gain up to +1.000",
        "A perfect verifier would find 1.000",
        "12 of 48 completions of rec/small ran into the token limit",
        "6 of 48 samples of rec/small could not be parsed, e.g. 'no idea'",
        "The verifier of best_of_n(judge) scored 36 of 48 samples at stage solve, e.g. no idea; samples without a score",
        "spend on a verifier rather than on larger votes",
        "Nothing can be said of outline",
        SOURCE,
    ):
        assert part in text, part


def test_the_page_asks_the_network_for_nothing():
    text = page(made())
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=", without_scripts(text))


def test_what_is_written_by_others_is_no_markup():
    text = page(made(HOSTILE, HOSTILE, HOSTILE))
    assert "<img" not in without_scripts(text)
    assert "document.title='owned'</script>" not in text


def test_a_browser_draws_every_plot_and_runs_nothing_foreign(tmp_path: Path):
    dom = rendered(page(made(HOSTILE, HOSTILE, HOSTILE)), tmp_path)
    assert dom.count('class="plot js-plotly-plot"') == 3
    assert "<title>sums: diagnosis</title>" in dom
    assert "owned'\"></script>" not in dom


def test_without_a_plan_the_page_says_so():
    text = page(replace(made(), best=None, plan=()))
    assert "there is no plan to look at" in text


def test_the_same_diagnosis_gives_the_same_page():
    assert page(made()) == page(made())


def test_a_sentence_follows_the_figures():
    def said(**changes) -> str:
        return " ".join(plan_words(replace(way(), **changes), cell()))

    assert "another way to select could not" in said(limited_by="generation", n_uncovered=4)
    assert "on 3 of these a stage before was wrong already" in said(
        limited_by="generation", n_uncovered=4, n_misled=3
    )
    assert "may be chance" in said(limited_by="unclear")
    assert "lose less than 0.05 each" in said(limited_by="neither")
    assert "writes answers of its own" in said(limited_by="unknown", label="fusion")
    one = said(n_samples=1, label="first")
    assert "Among 4 samples (trial 3) 1.000 of problems have a right one, a vote finds 0.000" in one


def test_what_spread_implies_hangs_on_rewards_and_lengths():
    def said(concentrated: float, spread: float | None, right: float = 0.0) -> str:
        shares = Mix(12, right, 0.1, 0.9 - right, mean_interval([concentrated] * 12))
        return cell_words(replace(cell(), mix=shares, spread=spread))[0]

    assert "spend on a verifier" in said(1.0, 0.3)
    assert "compare both" in said(1.0, 0.01)
    assert "worth trying" in said(1.0, None)
    assert "another model or prompt" in said(0.0, 0.3)
    assert "fewer would do" in said(0.0, 0.3, right=0.8)
