"""What `optimize` prints in the end, of the runs whose facts the page tells."""

from __future__ import annotations

import re

from agenttts._cli.results import result_json, result_text
from tests.report.facts.conftest import LARGE, SMALL, make_trial
from tests.report.facts.test_answer import confirmed, entry


def said(record) -> str:
    told = result_text(record.task, record.result, record.folder, resumed=False)
    return re.sub(r"\s+", " ", told)


def test_a_search_that_scored_nothing_is_warned_of_and_its_score_not_said_to_flatter(run):
    zeros = "0" * 10
    record = run([make_trial(0, zeros, (LARGE, 1)), make_trial(1, zeros, (SMALL, 1))], confirm=False)
    told = said(record)
    assert "warning No trial scored above 0: " in told
    assert "flatters" not in told
    data = result_json(record.task, record.result, record.folder, resumed=False)
    assert data["warning"].startswith("No trial scored above 0")


def test_the_search_score_flatters_where_it_is_higher_and_the_cost_says_of_which_problems_it_is(run):
    trials = [make_trial(0, "1111111110", (LARGE, 1), charged=4.0), make_trial(1, "1000000000", charged=2.0)]
    low = said(run(trials, events=confirmed(entry("10" * 20), entry("0" * 40), 40)))
    assert "problems it was chosen by; that flatters it" in low
    assert "cost 4 of 10 GFLOPs a problem (40%) on the search problems; 5 on the unseen ones" in low
    assert "warning" not in low


def test_a_search_score_below_the_unseen_one_is_told_without_a_word_more(run):
    trials = [make_trial(0, "1111111110", (LARGE, 1), charged=4.0), make_trial(1, "1000000000", charged=2.0)]
    told = said(run(trials, events=confirmed(entry("1" * 40), entry("0" * 40), 40)))
    assert "problems it was chosen by cost" in told
