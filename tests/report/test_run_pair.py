"""Two runs beside each other: paired where that means something, and else said why not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agenttts.budgets.cost import Budget, Unit
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


def test_the_verdict_says_what_both_cost_and_within_which_budgets():
    made = facts()
    larger = replace(made.head, budget=Budget(8.0, Unit.GFLOPS))
    pair = pair_of(beside(), beside(answer=replace(made.answer, charged=6.4), head=larger))
    assert (
        "The first costs 1.6 GFLOPs a problem, the second 6.4 GFLOPs: the second costs 4 times as much, "
        "within 2 GFLOPs and 8 GFLOPs (on their search problems)." in pair_page(pair)
    )
    same = pair_page(pair_of(beside(), beside()))
    assert "the second 1.6 GFLOPs, within 2 GFLOPs (on their search problems)." in same


def test_costs_in_two_units_are_told_without_a_ratio():
    other = replace(facts().head, budget=Budget(2.0, Unit.USD))
    told = pair_page(pair_of(beside(), beside(head=other)))
    assert "the second 1.6 USD, within 2 GFLOPs and 2 USD" in told


def test_both_charts_say_what_they_show_and_the_one_of_spend_what_was_not_paid_again():
    text = pair_page(pair_of(beside(), beside(course=replace(facts().course, reuse=0.75))))
    trials, spends = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert "not paid again" not in trials
    assert "The first found 40% of its draws held already, the second found 75% of its draws" in spends
    unpaid = replace(facts().course, reuse=0.0)
    assert "held already" not in pair_page(pair_of(beside(course=unpaid), beside(course=unpaid)))


def test_the_lines_bear_the_names_of_the_runs():
    second = replace(facts().head, folder="runs/other")
    text = pair_page(pair_of(beside(), beside(head=second)))
    assert '"name":"first: first (agent, seed 3)"' in text
    assert '"name":"second: other (agent, seed 3)"' in text


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
