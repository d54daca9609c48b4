"""Predictions: what more or less budget would buy, and why not the other models."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from agenttts.report.facts.budget_curve import budget_curve, budgets_between
from agenttts.report.facts.predicting import Fit, fit_of, thinned
from agenttts.report.facts.reasons import reasons_of
from agenttts.report.facts.record import RunRecord, read_run
from agenttts.study.archive import Archive
from agenttts.testing.runs import write_simulated_run
from tests.report.facts.conftest import LARGE, SMALL, make_trial


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("simulated")
    return read_run(write_simulated_run(folder, n_trials=40, n_problems=30, n_unseen=20).folder)


@pytest.fixture(scope="module")
def fit(simulated: RunRecord) -> Fit:
    found, why_none = fit_of(simulated)
    assert found is not None, why_none
    return found


def test_budgets_go_in_equal_factors_from_the_cheapest_over_the_runs_own_to_twice_that():
    found = budgets_between(1.0, 256.0)
    assert found[:9] == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256])
    assert found[9:] == pytest.approx([322.54, 406.37, 512], rel=1e-4)


def test_a_cost_of_nothing_has_a_budget_all_the_same():
    found = budgets_between(0.0, 10.0)
    assert found[0] == pytest.approx(0.01)
    assert found[-1] == pytest.approx(20)
    assert list(found) == sorted(found)


def test_the_choice_at_a_budget_is_the_best_of_all_that_fit(fit):
    """By the full prediction of every allocation, which the shortlist by near means spares."""
    fit = replace(fit, most_in_full=1000)
    assert len(fit.rows) < len(fit.every) / 2
    mean, _ = fit.model.predict(fit.every)
    every = fit.space.cost_array(fit.every)
    for limit in np.quantile(every, [0.01, 0.1, 0.3, 0.6, 1.0]):
        row, predicted, cost = fit.best_of(fit.costs <= limit)
        assert predicted.mean == pytest.approx(min(1.0, mean[every <= limit].max()), abs=0.003)
        assert cost <= limit
        assert fit.space.cost(fit.space.allocation(row)) == pytest.approx(cost)


def test_score_against_budget_rises_and_says_that_it_is_a_prediction(simulated, fit):
    curve = budget_curve(simulated, fit, "")
    budget = simulated.options.budget.amount
    assert len(curve.points) == 12
    assert curve.points[-1].budget == pytest.approx(2 * budget)
    assert any(point.budget == budget for point in curve.points)
    means = [point.predicted.mean for point in curve.points]
    assert all(later >= earlier - 0.003 for earlier, later in itertools.pairwise(means))
    assert all(point.cost <= point.budget * (1 + 1e-9) for point in curve.points)
    assert all(p.predicted.low <= p.predicted.mean <= p.predicted.high for p in curve.points)
    assert curve.fit.text.startswith("A prediction, not a measurement: fitted to")
    assert curve.exact
    assert curve.n_choices == len(fit.every)


def test_what_was_tried_at_a_budget_is_told_beside_the_prediction(simulated, fit):
    for point in budget_curve(simulated, fit, "").points:
        scores = [
            trial.score
            for trial in simulated.archive.valid
            if trial.status != "stopped" and trial.charged <= point.budget
        ]
        assert (point.measured is None) == (not scores)
        if scores:
            assert point.measured.mean == pytest.approx(max(scores))
            assert simulated.by_number[point.best_tried].score == max(scores)


def test_with_too_few_trials_nothing_is_predicted_and_it_is_said_why(run):
    record = run([make_trial(0, "1100", charged=1.0), make_trial(1, "1110", (LARGE, 1), charged=4.0)])
    found, why_none = fit_of(record)
    assert found is None
    assert "fewer than three" in why_none
    curve = budget_curve(record, found, why_none)
    assert all(point.predicted is None for point in curve.points)
    assert next(p.best_tried for p in curve.points) == 0
    assert [p.best_tried for p in curve.points][-1] == 1
    assert reasons_of(record, found).fit is None


def test_a_thinned_archive_keeps_the_best_and_some_of_every_cost():
    trials = [
        make_trial(n, "1" * (n % 10) + "0" * (10 - n % 10), (SMALL, 1 + n), charged=float(n))
        for n in range(100)
    ]
    kept = thinned(Archive.of(trials), 20)
    assert len(kept.trials) == 20
    assert sum(trial.score == 0.9 for trial in kept.trials) == 10
    rest = [trial.charged for trial in kept.trials if trial.score < 0.9]
    assert min(rest) < 15
    assert max(rest) > 85
    assert thinned(Archive.of(trials), 100) == Archive.of(trials)


# --- why not the other model -----------------------------------------------------------------------------------------

TRIALS = [
    make_trial(0, "1111111110", (LARGE, 1), (SMALL, 1), charged=6.0),
    make_trial(1, "1000000000", (SMALL, 1), (SMALL, 1), charged=3.0),
    make_trial(2, "1100000000", (SMALL, 2), (SMALL, 1), charged=4.0),
    make_trial(3, "1111111100", (LARGE, 2), (SMALL, 1), charged=7.0),
]


def others(record: RunRecord):
    found, why_none = fit_of(record)
    assert found is not None, why_none
    return {(one.stage, one.model): one for one in reasons_of(record, found).other_models}


def test_a_model_that_did_worse_is_told_with_the_paired_difference_to_its_best_trial(run):
    told = others(run(TRIALS, budget=50.0))
    small = told["draft", SMALL]
    assert (small.chosen, small.n_trials, small.best_trial) == (LARGE, 2, 2)
    assert small.difference.mean == pytest.approx(0.7)
    assert small.difference.verdict == "better"
    assert "The winner scores more than the best of its trials, 2," in small.why
    assert small.best_with["draft"].model == SMALL
    assert 0 <= small.chance < 0.5


def test_a_model_that_nobody_tried_is_said_to_be_untried(run):
    large = others(run(TRIALS, budget=50.0))["solve", LARGE]
    assert (large.n_trials, large.best_trial, large.difference) == (0, None, None)
    assert large.why.startswith(f"No trial used {LARGE} at this stage.")
    assert large.predicted is not None


def test_a_model_that_no_allocation_can_afford_is_said_to_be_too_dear(run):
    # One sample of the large model takes 2 * 4e8 * 15 FLOPs, 12 GFLOPs; of the small one 3.
    cheap = [
        make_trial(n, "1100000000", (SMALL, count), (SMALL, 1), charged=1.0)
        for n, count in enumerate((1, 2, 4))
    ]
    record = run(cheap, budget=11.0)
    large = others(record)["draft", LARGE]
    assert large.best_with is None
    assert large.why == f"No allocation within the budget uses {LARGE} at this stage."


def test_curves_begin_with_one_sample_and_name_what_the_winner_takes(simulated, fit):
    reasons = reasons_of(simulated, fit)
    assert reasons.curves
    for curve in reasons.curves:
        counts = [point.n_samples for point in curve.points]
        assert counts == [1, 2, 4, 8, 16, 32]
        assert all(p.predicted.low <= p.predicted.mean <= p.predicted.high for p in curve.points)
    best = simulated.result.best
    chosen = {(c.stage, c.model, c.chosen) for c in reasons.curves if c.chosen is not None}
    assert chosen == {(c.stage, c.model, c.n_samples) for c in best.allocation.choices}
    assert {gain.stage for gain in reasons.gains} <= {"read", "solve", "check"}
    assert {one.stage for one in reasons.influence} == {"read", "solve"}
