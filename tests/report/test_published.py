"""Published figures: those of Table 1, and nothing where the paper prints nothing."""

from __future__ import annotations

import pytest

from agenttts.report.published import published
from agenttts.study.paper_methods import PAPER_METHODS

TABLE_1 = {  # hours / score as printed, in the order of the six methods
    "2wikimultihopqa": "-/.66 -/.60 12.5/.70 12.5/.70 8.3/.70 2.5/.72",
    "hotpotqa": "-/.71 -/.71 -/.71 46.3/.72 36.3/.74 17.5/.74",
    "cwq": "-/.76 -/.76 55.3/.76 48.4/.78 37.4/.78 11.1/.78",
    "webqsp": "-/.86 -/.85 37.7/.89 20.8/.88 48.1/.89 7.8/.89",
    "taskbench": "-/.40 -/.52 -/.49 -/.53 -/.49 64.3/.53",
    "chatdev": "-/.74 -/.75 -/.74 -/.75 -/.74 14.3/.75",
}


@pytest.mark.parametrize("task", TABLE_1)
def test_figures_are_those_of_the_table(task):
    known = published(task)
    assert known is not None
    figures = [known.figures[method.contender] for method in PAPER_METHODS]
    printed = [cell.split("/") for cell in TABLE_1[task].split()]
    assert [figure.score for figure in figures] == [float(score) for _, score in printed]
    assert [figure.hours for figure in figures] == [None if h == "-" else float(h) for h, _ in printed]


def test_source_and_uncertainty_are_told():
    known = published("2wikimultihopqa")
    assert known is not None
    assert "2508.00890" in known.source
    assert "Table 1" in known.source
    assert "0.02" in known.note
    assert known.measure == "exact match"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("cwq", "laxer measure"),
        ("webqsp", "laxer measure"),
        ("taskbench", "pools the items of all problems"),
        ("2wikimultihopqa", "retrieval is voted"),
        ("hotpotqa", "retrieval is voted"),
        ("chatdev", "Fusion is billed"),
    ],
)
def test_what_differs_from_ours_is_told_by_task(task, said):
    known = published(task)
    assert known is not None
    assert said in known.note
    assert "illed here and not in the paper" in known.note
    assert "0.02" in known.note


def test_a_task_that_is_not_in_the_paper_has_none():
    assert published("tiny") is None
