"""Measures and scores of stages over problems: what has no value is counted and is no 0."""

from __future__ import annotations

import pytest

from agenttts.pipeline.base import Allocation, Failure, Rollout, StageChoice
from agenttts.study.evaluate import Evaluation
from agenttts.study.figures import Figure, Unmeasured, figures_to_json, measure_figures, stage_figures
from agenttts.study.statistics import mean_interval
from agenttts.task.schema import TaskFile

ALLOCATION = Allocation((StageChoice("s", "m", 1, "first"),))


def rollout(name: str, f1: float | None, *, failed: bool = False) -> Rollout:
    return Rollout(
        name,
        {},
        None if failed else 1.0,
        failure=Failure("s", "Unscored", "no") if failed else None,
        measures={} if f1 is None else {"f1": f1},
        unmeasured={} if f1 is not None else {"f1": f"no score of {name}"},
    )


def test_the_mean_is_over_the_scored_problems_that_have_a_value() -> None:
    rollouts = [
        rollout("a", 0.2),
        rollout("b", None),
        rollout("c", 0.6),
        rollout("d", None),
        rollout("e", 0.9, failed=True),
    ]
    made = Evaluation.of(ALLOCATION, rollouts)
    assert made.measures == {"f1": {"a": 0.2, "c": 0.6}}
    assert made.unmeasured == {"f1": Unmeasured(2, "no score of b")}
    figure = measure_figures(made.measures, made.unmeasured)["f1"]
    assert figure == Figure(mean_interval([0.2, 0.6]), 2, "no score of b")
    assert figure.interval is not None
    assert figure.interval.mean == pytest.approx(0.4)


def test_what_no_problem_has_a_value_of_is_told_with_its_count() -> None:
    figures = measure_figures({}, {"f1": Unmeasured(3, "the sandbox is broken")})
    assert figures_to_json(figures) == {
        "f1": {"mean": None, "n": 0, "n_unscored": 3, "because": "the sandbox is broken"}
    }


@pytest.mark.parametrize("last", [None, {"verifier": "numeric", "gold": "answer"}])
def test_of_stages_only_those_with_a_score_of_their_own_are_told(last: dict[str, str] | None) -> None:
    stage = {"prompt": {"user": "x"}, "models": ["m"]}
    score = {"verifier": "numeric", "gold": "answer"}
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "rows.jsonl"},
            "stages": {"first": {**stage, "score": score}, "next": stage, "last": {**stage, "score": last}},
            "score": score,
        }
    )
    values = {"first": {"a": 1.0}, "next": {"a": 0.5}, "last": {"a": 0.0}}
    assert stage_figures(values, file) == {"first": Figure(mean_interval([1.0]))}
