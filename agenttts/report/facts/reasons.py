"""Why this allocation: gains by stage, saturation, influence between stages, and why not the other models.

Measured figures are those of `samples` and of `agenttts.allocators.evidence`, which planners are told too; curves and chances are those
of the fit (`predicting`). That a model was not taken is no proof that it is worse: what is known is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agenttts.allocators.evidence import Evidence, Single, gather
from agenttts.report.facts.samples import sample_curves, sample_gains
from agenttts.report.facts.values import CurvePoint, OtherModel, Predicted, Reasons, StageCurve
from agenttts.report.words import chance_text
from agenttts.study.statistics import PairedDifference, paired_difference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agenttts.allocators.curves.model import StagePoint
    from agenttts.pipeline.base import StageChoice
    from agenttts.report.facts.predicting import Fit
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Trial

__all__ = ["reasons_of"]


def reasons_of(record: RunRecord, fit: Fit | None) -> Reasons:
    """Return why the winner is what it is.

    Args:
        record: The run.
        fit: Of its trials; `None`: nothing is predicted and nothing told of stages.
    """
    if fit is None:
        return Reasons((), (), (), (), (), (), None)
    # Gains are told for a tenth of the run's own budget, so the space has that one.
    evidence = gather(record.archive, replace(fit.space, budget=record.options.budget))
    best = record.result.best
    return Reasons(
        gains=() if best is None else sample_gains(record.archive.valid, best, record.task.llm_stages),
        saturation=sample_curves(record.archive.valid, record.task.llm_stages),
        curves=tuple(_curves(fit.model.stage_curves(), best)),
        influence=evidence.influence,
        singles=evidence.singles,
        other_models=() if best is None else tuple(_others(record, fit, evidence, best)),
        fit=fit.note,
    )


# --- curves ----------------------------------------------------------------------------------------------------------


def _curves(points: Sequence[StagePoint], best: Trial | None) -> Iterator[StageCurve]:
    """Give one curve for every stage, model and way; that of one sample begins all of a model."""
    by_way: dict[tuple[str, str, str], list[StagePoint]] = {}
    for point in points:
        if point.n_samples > 1:
            by_way.setdefault((point.stage, point.model, point.select), []).append(point)
    ones = {(point.stage, point.model): point for point in points if point.n_samples == 1}
    for (stage, model, select), more in by_way.items():
        one = ones.get((stage, model))
        told = sorted([*([one] if one is not None else []), *more], key=lambda point: point.n_samples)
        yield StageCurve(
            stage=stage,
            model=model,
            select=select,
            points=tuple(
                CurvePoint(p.n_samples, Predicted(p.mean, min(p.low, p.mean), max(p.high, p.mean)))
                for p in told
            ),
            seen=more[0].seen,
            chosen=None if best is None else _chosen(best.allocation.canonical()[stage], model, select),
        )


def _chosen(choice: StageChoice, model: str, select: str) -> int | None:
    same = choice.model == model and choice.below != 0 and (choice.n_samples == 1 or choice.select == select)
    return choice.n_samples if same else None


# --- other models ----------------------------------------------------------------------------------------------------


def _others(record: RunRecord, fit: Fit, evidence: Evidence, best: Trial) -> Iterator[OtherModel]:
    singles = {(one.stage, one.model): one for one in evidence.singles}
    for place, choices in enumerate(fit.space.stages):
        stage = choices[0].stage
        chosen = best.allocation[stage]
        if chosen.below == 0:
            continue
        for model in dict.fromkeys(choice.model for choice in choices):
            if model != chosen.model:
                yield _other(record, fit, best, (place, stage, model), singles)


def _other(
    record: RunRecord,
    fit: Fit,
    best: Trial,
    where: tuple[int, str, str],
    singles: dict[tuple[str, str], Single],
) -> OtherModel:
    place, stage, model = where
    using = [trial for trial in record.archive.valid if trial.allocation[stage].model == model]
    rival = next((t for t in record.archive.ranked if t.allocation[stage].model == model), None)
    difference = None if rival is None else _difference(best, rival, record)
    with_it = fit.best_of(_rows_with(record, fit, place, model))
    told = OtherModel(
        stage=stage,
        model=model,
        chosen=best.allocation[stage].model,
        single=singles.get((stage, model)),
        chosen_single=singles.get((stage, best.allocation[stage].model)),
        n_trials=len(using),
        best_trial=None if rival is None else rival.number,
        difference=difference,
        best_with=None if with_it is None else fit.space.allocation(with_it[0]),
        predicted=None if with_it is None else with_it[1],
        cost=None if with_it is None else with_it[2],
        chance=None if with_it is None else fit.chance_to_beat(with_it[0], best),
        why="",
    )
    return replace(told, why=" ".join(_why(told, best, rival)))


def _rows_with(record: RunRecord, fit: Fit, place: int, model: str) -> NDArray[np.bool_]:
    """Return which allocations within the run's budget use a model at a stage, where the stage runs at all."""
    import numpy as np

    uses = np.array([c.model == model and c.below != 0 for c in fit.space.stages[place]])
    within = fit.costs <= record.options.budget.amount * (1 + 1e-9)
    allowed: NDArray[np.bool_] = uses[fit.rows[:, place]] & within
    return allowed


def _difference(best: Trial, rival: Trial, record: RunRecord) -> PairedDifference | None:
    if not best.scores.keys() & rival.scores.keys():
        return None
    return paired_difference(
        best.scores, rival.scores, confidence=record.options.confidence, seed=record.options.seed
    )


def _why(told: OtherModel, best: Trial, rival: Trial | None) -> Iterator[str]:
    """Give sentences: what was measured first, then what the fit expects."""
    if told.best_with is None:
        yield f"No allocation within the budget uses {told.model} at this stage."
        return
    if told.n_trials == 0:
        yield f"No trial used {told.model} at this stage."
    elif rival is None or told.difference is None:
        yield f"{told.n_trials} trials used it, none of which could win."
    else:
        yield _measured(told.difference, best, rival)
    if told.chance is not None and told.predicted is not None:
        yield (
            f"The fit expects at best {told.predicted.mean:.3f} with it, and a chance of "
            f"{chance_text(told.chance)} to beat the winner."
        )


def _measured(difference: PairedDifference, best: Trial, rival: Trial) -> str:
    against = f"the best of its trials, {rival.number},"
    if difference.verdict == "better":
        return f"The winner scores more than {against} by {difference}."
    if rival.charged < best.charged:
        return f"The winner cannot be told from {against} which costs less: {difference}."
    return f"The winner cannot be told from {against} which costs no less: {difference}."
