"""Forecasts corrected by what trials were charged."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import pytest

from agenttts.budgets.calibration import Calibration
from agenttts.budgets.cost import Cost
from agenttts.pipeline.base import StageChoice

FOUR = StageChoice("solve", "small", 4, "beam(tiny_prm)")


def cost(times: float, **changes: float | None) -> Cost:
    base = Cost(flops=7.0, linear_flops=5.0, usd=0.3, prefill_tokens=11.0, decode_tokens=3.0, seconds=0.7)
    return replace(base.scaled(times), **changes)


def forecast_of(choice: StageChoice) -> Cost:
    """An upper forecast: 2 for each sample."""
    return cost(2.0 * choice.n_samples)


def corrected(calibration: Calibration, choice: StageChoice) -> Cost:
    return calibration.corrected(choice, forecast_of(choice), forecast_of)


def at(n: int, **changes: str) -> StageChoice:
    return replace(FOUR, n_samples=n, **changes)


def test_nothing_seen_corrects_nothing() -> None:
    assert corrected(Calibration(), FOUR) == forecast_of(FOUR)


def test_a_choice_that_was_tried_costs_what_it_was_charged() -> None:
    calibration = Calibration()
    charged = Cost(
        flops=1 / 3, linear_flops=0.1, usd=0.7, prefill_tokens=9.3, decode_tokens=0.0, seconds=1e-9
    )
    calibration.observe(FOUR, charged, 10)
    assert corrected(calibration, FOUR) == charged


def test_what_a_forecast_of_nothing_really_costs_is_not_forgotten() -> None:
    calibration = Calibration()
    calibration.observe(FOUR, cost(1.0), 10)
    assert calibration.corrected(FOUR, Cost(), forecast_of) == cost(1.0)


def test_other_numbers_of_samples_are_corrected_by_the_ratio_of_the_nearest() -> None:
    calibration = Calibration()
    calibration.observe(at(2), cost(1.0), 10)  # forecast 4: a quarter
    calibration.observe(at(16), cost(16.0), 10)  # forecast 32: a half
    for n, times in ((1, 0.5), (4, 2.0), (8, 8.0), (32, 32.0)):
        for one in fields(Cost):
            got, wanted = getattr(corrected(calibration, at(n)), one.name), getattr(cost(times), one.name)
            assert got == pytest.approx(wanted), (n, one.name)


def test_a_tie_goes_to_fewer_samples() -> None:
    calibration = Calibration()
    calibration.observe(at(8), cost(16.0), 10)
    calibration.observe(at(2), cost(2.0), 10)
    assert corrected(calibration, FOUR).flops == pytest.approx(cost(4.0).flops)


@pytest.mark.parametrize("other", [{"stage": "plan"}, {"model": "large"}, {"select": "tree(tiny_prm)"}])
def test_other_stages_models_and_ways_teach_nothing(other: dict[str, str]) -> None:
    calibration = Calibration()
    calibration.observe(at(4, **other), cost(1.0), 10)
    assert corrected(calibration, FOUR) == forecast_of(FOUR)


def test_the_order_of_trials_changes_nothing() -> None:
    # One choice under three choices of the stage before it, two of them with equally many problems.
    trials = [
        (FOUR, cost(0.1), 10),
        (FOUR, cost(0.7), 10),
        (FOUR, cost(0.2), 3),
        (at(2), cost(0.3), 10),
        (at(8), cost(3.0), 7),
    ]
    seen = set()
    for order in itertools.permutations(trials):
        calibration = Calibration()
        for trial in order:
            calibration.observe(*trial)
        seen.add(tuple(corrected(calibration, at(n)) for n in (1, 2, 3, 4, 5, 8, 16)))
    assert len(seen) == 1


def test_trials_of_one_choice_are_averaged_over_their_problems() -> None:
    calibration = Calibration()
    calibration.observe(FOUR, cost(1.0), 30)
    calibration.observe(FOUR, cost(2.0), 10)
    assert corrected(calibration, FOUR).flops == pytest.approx(7 * 1.25)


def test_a_trial_without_a_scored_problem_teaches_nothing() -> None:
    calibration = Calibration()
    calibration.observe(FOUR, Cost(), 0)
    assert corrected(calibration, FOUR) == forecast_of(FOUR)
    assert calibration.charged(FOUR) is None


def test_what_is_not_known_of_a_charge_stays_as_forecast() -> None:
    calibration = Calibration()
    calibration.observe(FOUR, cost(1.0, usd=None), 10)
    assert corrected(calibration, FOUR) == cost(1.0, usd=forecast_of(FOUR).usd)
    assert corrected(calibration, at(2)).usd == forecast_of(at(2)).usd


def test_what_is_not_known_of_a_forecast_stays_unknown_elsewhere() -> None:
    calibration = Calibration()
    calibration.observe(at(2), cost(1.0), 10)
    unknown = replace(forecast_of(FOUR), usd=None)
    assert calibration.corrected(FOUR, unknown, forecast_of).usd is None


def test_a_way_that_differs_in_its_knobs_alone_teaches_where_the_way_itself_was_not_seen() -> None:
    calibration = Calibration()
    one, three = (StageChoice("solve", "m", 4, f"best_of_n(judge)[samples {samples}]") for samples in (1, 3))
    forecast = {one: Cost(flops=100.0), three: Cost(flops=300.0)}
    calibration.observe(one, Cost(flops=20.0), 10)
    assert calibration.corrected(three, forecast[three], forecast.__getitem__).flops == pytest.approx(60.0)
    calibration.observe(three, Cost(flops=90.0), 10)
    assert calibration.corrected(three, forecast[three], forecast.__getitem__).flops == 90.0
