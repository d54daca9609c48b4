"""The rows of the paper's table, from searches that were worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agenttts.budgets.cost import Unit
from agenttts.errors import InputError
from agenttts.study.comparison_values import RunRecord
from agenttts.study.paper import paper_rows
from agenttts.study.paper_methods import PAPER_METHODS, Method, read_methods

PROBLEMS = [f"p{i:02}" for i in range(40)]


def record(name: str, seed: int, best: list[float], right: int | None = None) -> RunRecord:
    """A search whose trials cost 10 each, and whose winner solves the first `right` of 40 problems."""
    test = None if right is None else {problem: float(i < right) for i, problem in enumerate(PROBLEMS)}
    spend = tuple(10.0 * (i + 1) for i in range(len(best)))
    return RunRecord(name, seed, tuple(best), spend, test=test)


def rows(records: list[RunRecord], threshold: float = 0.79, **more: object):
    methods = [Method(name, name) for name in dict.fromkeys(run.allocator for run in records)]
    hours = [replace(run, spend=tuple(3600 * spend for spend in run.spend)) for run in records]
    tables = {Unit.GFLOPS: records, Unit.SECONDS: hours}
    made = paper_rows(methods, tables, reference="agenttts", threshold=threshold, **more)
    return {row.method.contender: row for row in made}


def test_trials_and_costs_to_the_best_count_searches_that_never_came_there():
    made = rows(
        [
            record("agenttts", 0, [0.5, 0.8, 0.8]),
            record("agenttts", 1, [0.8, 0.8, 0.8]),
            record("agenttts", 2, [0.5, 0.5, 0.8]),
            record("random", 0, [0.5, 0.5, 0.8]),
            record("random", 1, [0.5, 0.6, 0.7]),
            record("random", 2, [math.nan, 0.6, 0.6]),
        ]
    )
    ours, random = made["agenttts"], made["random"]
    assert (ours.n_reached, ours.n_seeds) == (3, 3)
    assert ours.trials is not None
    assert ours.trials.value == 2
    assert (ours.trials.low, ours.trials.high) == (1, 3)
    assert ours.cost is not None
    assert ours.cost[Unit.GFLOPS].value == 20
    assert ours.cost[Unit.SECONDS].value == 72_000
    assert (random.n_reached, random.n_seeds) == (1, 3)
    assert random.trials is not None
    assert random.trials.value == math.inf
    assert random.to_json()["trials_to_best"]["value"] is None
    assert random.to_json()["n_reached"] == 1
    assert random.found is not None
    assert random.found.value == pytest.approx((0.8 + 0.7 + 0.6) / 3)


def test_scores_and_differences_are_means_over_seeds_and_problems():
    made = rows(
        [
            *(record("agenttts", seed, [0.8], right) for seed, right in enumerate((30, 30, 32))),
            *(record("gp", seed, [0.8], right) for seed, right in enumerate((10, 10, 12))),
            *(record("random", seed, [0.8], right) for seed, right in enumerate((29, 30, 31))),
        ]
    )
    assert made["agenttts"].test is not None
    assert made["agenttts"].test.value == pytest.approx(92 / 120)
    assert made["agenttts"].against is None
    worse, alike = made["gp"].against, made["random"].against
    assert worse is not None
    assert worse.difference.value == pytest.approx(-60 / 120)
    assert (worse.difference.n_seeds, worse.difference.n_problems) == (3, 40)
    assert worse.verdict == "worse"
    assert worse.p_adjusted == pytest.approx(2 * worse.difference.p)  # Holm: the smaller of two counts twice
    assert alike is not None
    assert alike.difference.value == pytest.approx(-2 / 120)
    assert alike.verdict == "not distinguishable"


def test_a_method_that_finds_what_the_papers_own_finds_is_said_to_have_the_same_plans():
    records = [record(name, 0, [0.8], 20) for name in ("agenttts", "gp")]
    plans = {"agenttts": {0: "x"}, "gp": {0: "x"}}
    against = rows(records, plans=plans)["gp"].against
    assert against is not None
    assert against.verdict == "the same plans"
    other = rows(records, plans={**plans, "gp": {0: "y"}})["gp"].against
    assert other is not None
    assert other.verdict == "not distinguishable"


def test_problems_without_a_score_have_no_part_in_differences_and_neither_have_seeds():
    full = record("agenttts", 0, [0.8], 20)
    lacking = record("gp", 0, [0.8], 10)
    assert lacking.test is not None
    lacking = replace(lacking, test={name: lacking.test[name] for name in PROBLEMS[:30]})
    made = rows([full, lacking, record("gp", 1, [0.8], 10), record("random", 0, [0.8])])
    against = made["gp"].against
    assert against is not None
    assert against.difference.value == pytest.approx(-10 / 30)
    assert (against.difference.n_seeds, against.difference.n_problems) == (1, 30)
    assert made["random"].test is None
    assert made["random"].against is None


def test_methods_are_named_as_in_the_paper_or_by_any_allocator():
    assert read_methods(None) == PAPER_METHODS
    assert [method.label for method in read_methods(["AgentTTS", "bo", "tpe"])] == [
        "AgentTTS",
        "BO (gp)",
        "tpe",
    ]
    assert [method.contender for method in PAPER_METHODS if not method.asks] == ["random", "gp"]
    with pytest.raises(InputError, match="one or more different names"):
        read_methods(["gp", "bo"])
    with pytest.raises(InputError, match="Did you mean"):
        read_methods(["agentts"])
