"""What is said of ways that stop early, and of ways that cannot be diagnosed."""

from __future__ import annotations

from dataclasses import replace

from agenttts.report.diagnosis_words import apart_words, how_made, plan_words, way_table
from agenttts.study.diagnosis import Apart, Beside, Diagnosis, WayDiagnosis
from agenttts.study.statistics import mean_interval, paired_difference
from tests.report.browsing import HOSTILE, without_scripts
from tests.report.test_diagnosis_page import cell, made, page, way, words

NAMES = [f"p{i}" for i in range(12)]
LOST = paired_difference(dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 0.0))
STOPPED = Beside("adaptive_vote", 2, 2.5, mean_interval([0.75] * 12), LOST)
LEFT = Apart(
    "solve",
    "rec/small",
    "tree",
    4,
    8,
    mean_interval([1.0] * 12),
    "some of its samples are refined from others",
)


def stopped(**changes) -> WayDiagnosis:
    told = {"label": "adaptive_vote", "limited_by": "stopping", "beside": STOPPED, "verifier": None}
    return replace(way(), **{**told, **changes})


def said(**changes) -> str:
    return " ".join(plan_words(stopped(**changes), cell()))


def test_what_going_on_would_find_is_said_with_the_setting_that_makes_it_go_on():
    text = said()
    assert "right sample among 4 of rec/small drawn in parallel (trial 2)" in text
    assert "adaptive_vote stops after 2.5 on average" in text
    assert "Limited by stopping: a vote over all 4 finds 0.750, +1.000" in text
    assert "more: raise `confidence`, or draw them all." in text
    best = said(beside=replace(STOPPED, kind="adaptive_best", full=None))
    assert "going on could gain up to +1.000" in best
    assert "raise `threshold` or lower `least_gain`" in best


def test_a_way_that_stops_early_and_misses_what_all_draws_hold_wants_a_verifier():
    assert "Limited by selection: a verifier could gain" in said(limited_by="selection")
    best = said(limited_by="selection", beside=replace(STOPPED, kind="adaptive_best"))
    assert "Limited by selection: a better verifier could gain" in best
    assert "Selection or stopping early may be the limit" in said(limited_by="unclear")


def test_the_table_names_the_trial_that_coverage_is_from():
    found = Diagnosis(5, 3, (), (replace(cell(), ways=(stopped(),)),), ())
    (row,) = way_table(found)[1]
    assert row[5] == "1.000 (trial 2)"
    assert row[-1] == "stopping"
    assert "in the trial in brackets" in " ".join(how_made(found))
    assert "in the trial in brackets" not in " ".join(how_made(made()))


def test_a_plan_that_cannot_be_diagnosed_is_told_with_the_reason():
    text = " ".join(apart_words(LEFT, cell()))
    assert "tree with up to 8 samples of rec/small finds 1.000" in text
    assert "What limits it cannot be told: some of its samples are refined from others." in text
    assert "A single sample of rec/small finds 0.250, and among 4 1.000 of problems have a right one" in text
    assert len(apart_words(LEFT, None)) == 1


def test_the_page_lists_ways_that_are_in_no_table_and_runs_nothing_of_theirs():
    hostile = replace(LEFT, label=HOSTILE, stage=HOSTILE)
    text = page(replace(made(), plan=(), apart=(hostile,), plan_apart=(hostile,)))
    assert "<h2>Ways that are in no table</h2>" in text
    assert "What limits it cannot be told" in words(text)
    assert "<img" not in without_scripts(text)
    assert "<h2>Ways that are in no table</h2>" not in page(made())
