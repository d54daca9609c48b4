"""Two runs beside each other: paired where that means something, and else said why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agenttts.report.run_pair import RunBeside, pair_of
from agenttts.report.run_pair_page import pair_page
from agenttts.study.statistics import paired_difference
from tests.report.browsing import HOSTILE, without_scripts
from tests.report.fabricated import facts

GOOD = {f"t{i}": 1.0 for i in range(40)}
BAD = {f"t{i}": float(i % 2) for i in range(40)}


def beside(data: str = "same", unseen: dict[str, float] | None = None, **changes) -> RunBeside:
    return RunBeside(replace(facts(), **changes), data, GOOD if unseen is None else unseen)


def test_the_difference_is_that_of_the_winners_on_the_problems_that_both_answered():
    pair = pair_of(beside(), beside(unseen=BAD))
    assert pair.unseen == paired_difference(GOOD, BAD)
    assert pair.search.mean == 0  # the same winner on the same search problems
    assert "The first run&#x27;s winner is better on 40 unseen problems that both answered" in pair_page(pair)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (beside("others"), "the runs were asked different problems"),
        (beside(unseen={}), "the winner of runs/first has no score on unseen problems"),
        (beside(unseen={"u1": 1.0}), "the runs were confirmed on different unseen problems"),
        (
            beside(answer=replace(facts().answer, winner=None, allocation=None)),
            "one of the runs has no winner",
        ),
        (beside(head=replace(facts().head, metric="f1")), "the runs score answers in different ways"),
    ],
)
def test_without_a_difference_the_page_says_why(other: RunBeside, why: str):
    pair = pair_of(beside(), other)
    assert (pair.unseen, pair.why_none) == (None, why)
    assert f"cannot be said problem by problem: {why}." in pair_page(pair)


def test_what_moves_figures_is_named():
    head = replace(facts().head, allocator="tpe", agenttts="0.2.0")
    assert pair_of(beside(), beside(head=head)).differs == (
        "allocator: agent and tpe",
        "version of agenttts: 0.1.0 and 0.2.0",
    )


def test_amounts_of_two_units_share_no_axis():
    course = replace(facts().course, spent_unit="usd")
    assert 'id="spends-plot"' in pair_page(pair_of(beside(), beside()))
    assert 'id="spends-plot"' not in pair_page(pair_of(beside(), beside(course=course)))


def test_what_is_written_by_others_is_no_markup():
    foul = RunBeside(facts(text=HOSTILE, name=HOSTILE), "same", GOOD)
    text = pair_page(pair_of(foul, foul))
    assert "<img" not in without_scripts(text)
    assert "document.title='owned'</script>" not in text
