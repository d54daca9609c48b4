"""Facts of a run that never was, of any size: every text that comes from outside can be chosen."""

from __future__ import annotations

import random
from dataclasses import replace

from agenttts.allocators.evidence import Estimate, Influence, Single
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.report.facts.values import (
    Answer,
    BudgetCurve,
    BudgetPoint,
    Course,
    CurvePoint,
    FailureGroup,
    Failures,
    FitNote,
    FrontierPoint,
    Head,
    InsightFact,
    ModelNote,
    Money,
    OtherModel,
    Predicted,
    ProblemFact,
    Purse,
    Reasons,
    RolloutFact,
    RolloutsFact,
    RoundFact,
    RunFacts,
    SampleCurve,
    SampleFact,
    SampleGain,
    SampleProblems,
    Share,
    Spending,
    StageCurve,
    StageMoney,
    StagePass,
    Step,
    TrialFact,
)
from agenttts.study.figures import Figure
from agenttts.study.statistics import Interval, PairedDifference

__all__ = ["SOURCE", "facts"]

SOURCE = "Figures come from simulated models. A simulation says nothing about real models."
FIT = FitNote("A prediction, not a measurement: fitted to 9 trials.", 9, composed=True)


def score(mean: float, n: int = 100) -> Interval:
    return Interval(mean, max(0.0, mean - 0.05), min(1.0, mean + 0.05), n, 0.95, "Wilson score interval")


def difference(mean: float) -> PairedDifference:
    return PairedDifference(mean, mean - 0.02, mean + 0.02, 0.3, 100, 0, 0.95, "paired Bonett-Price interval")


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05, 100)


def facts(
    *, n_trials: int = 12, n_problems: int = 20, n_passes: int = 4, text: str = "said", name: str = "solve"
) -> RunFacts:
    """Return the facts.

    Args:
        n_trials: Of the search.
        n_problems: Search problems.
        n_passes: Passes that were read back.
        text: What models, providers and planners wrote.
        name: Of the second stage, of a model, of the task.
    """
    made = random.Random(0)
    trials = tuple(_trial(i, name, text, n_problems, made) for i in range(n_trials))
    return RunFacts(
        head=_head(n_trials, n_problems, name),
        answer=_answer(trials[2].allocation, name, text),
        frontier=tuple(_point(trial, i) for i, trial in enumerate(trials[:6])),
        money=_money(name, text),
        budgets=_budgets(trials[2].allocation),
        reasons=_reasons(trials[2].allocation, name, text),
        course=_course(trials, text),
        failures=_failures(name, text),
        trials=trials,
        problems=tuple(ProblemFact(f"p{i:04}", text, 9, 1, 0.5, 1.0, 0.0) for i in range(n_problems)),
        rollouts=RolloutsFact(tuple(_pass(i, name, text) for i in range(n_passes)), n_passes, n_passes),
    )


def _allocation(i: int, name: str) -> Allocation:
    return Allocation(
        (
            StageChoice("outline", "sim/small", 2 ** (i % 5), "majority"),
            StageChoice(name, f"{name}/large", 2 ** (i % 3), "best_of_n(judge)"),
        )
    ).canonical()


def _head(n_trials: int, n_problems: int, name: str) -> Head:
    return Head(
        folder="runs/first",
        task=f"sums {name}",
        description="Sums.",
        status="finished",
        message="",
        budget=Budget(2.0, Unit.GFLOPS),
        search_budget=Budget(900.0, Unit.GFLOPS),
        allocator="agent",
        planner="sim/planner",
        seed=3,
        n_trials=n_trials,
        n_trials_wanted=n_trials,
        n_problems=n_problems,
        confidence=0.95,
        metric=f"exact score of the answer of stage {name}",
        stages=("outline", name),
        models=(ModelNote("sim/small", "simulated"), ModelNote(f"{name}/large", "simulated")),
        sources=("simulated",),
        provenance=SOURCE,
        agenttts="0.1.0",
        n_feasible=300,
        n_allocations=400,
    )


def _answer(allocation: Allocation, name: str, text: str) -> Answer:
    return Answer(
        winner=2,
        allocation=allocation,
        plan="runs/first/plan.yaml",
        score=score(0.81, 300),
        split="test",
        search_score=score(0.9),
        charged=1.6,
        unseen_charged=1.5,
        cost=Cost(1.6e9, 1.6e9, None, 100, 50, None),
        share_of_budget=0.8,
        runner_up=3,
        runner_up_score=score(0.8, 300),
        difference=difference(0.01),
        verdict="winner and runner-up are not distinguishable on unseen problems",
        unconfirmed_because="",
        n_unseen=300,
        n_failed_unseen=0,
        alternative=4,
        alternative_difference=difference(0.015),
        cautions=(f"A stage is unscored: {text}",),
        measures={f"f1 {name}": Figure(score(0.7), 2, text)},
    )


def _trial(i: int, name: str, text: str, n_problems: int, made: random.Random) -> TrialFact:
    mean = 0.4 + 0.5 * made.random()
    return TrialFact(
        number=i,
        allocation=_allocation(i, name),
        status="ok" if i % 3 else "stopped",
        standing="frontier" if i < 4 else "maybe" if i < 6 else "beaten",
        score=mean,
        low=mean - 0.1,
        high=mean + 0.1,
        n_problems=n_problems,
        n_failed=0,
        charged=0.05 + 2 * made.random(),
        n_paid=100,
        n_reused=30,
        origin="planner",
        reason=text,
        repaired="",
        stopped_because="" if i % 3 else "it could not win any more",
        estimated_from={},
        scores=tuple(float(made.random() < mean) for _ in range(n_problems)),
    )


def _point(trial: TrialFact, i: int) -> FrontierPoint:
    behind = None if trial.number == 2 else difference(0.05)
    return FrontierPoint(
        trial.number, trial.charged, score(trial.score or 0.0), trial.standing, False, behind, 0.1 * i
    )


def _money(name: str, text: str) -> Money:
    shares = (
        Share("outline", "sim/small", "draw", 0.2, 0.3, 100, 50),
        Share(name, f"{name}/large", "draw", 0.3, 0.4, 100, 50),
        Share(name, f"{name}/large", "fusion", 0.1, 0.1, 100, 50),
        Share(name, text[:40], "verify", 0.2, 0.0, 100, 50),
    )
    money = StageMoney(2, shares, 1.6, exact=True)
    purse = Purse("pilot", Cost(1e9, 1e9, 0.1, 10, 10, None), 16)
    calls = (Spending("sim/small", "draw", 10, 40, 1000, 2000),)
    return Money(
        (money, replace(money, trial=3)), Cost(9e11, 9e11, 1.5, 10, 10, None), (purse,), calls, 400, 900
    )


def _budgets(allocation: Allocation) -> BudgetCurve:
    points = tuple(
        BudgetPoint(
            b, Predicted(0.4 + b / 10, 0.3 + b / 10, 0.5 + b / 10), allocation, 0.9 * b, 2, 2, score(0.5)
        )
        for b in (0.1, 0.5, 1.0, 2.0, 4.0)
    )
    return BudgetCurve(points, FIT, n_choices=400)


def _reasons(allocation: Allocation, name: str, text: str) -> Reasons:
    points = {1: estimate(0.5), 2: estimate(0.6), 4: estimate(0.65)}
    curve = tuple(CurvePoint(n, Predicted(0.5, 0.4, 0.6)) for n in (1, 2, 4, 8))
    large = f"{name}/large"
    return Reasons(
        gains=(
            SampleGain("outline", "sim/small", estimate(0.01), True, 9),
            SampleGain(name, large, estimate(0.08), False, 12),
        ),
        saturation=(
            SampleCurve(name, large, "majority", "final", allocation.choices[:1], points, 4),
            SampleCurve(name, large, "majority", "final", (), {8: estimate(0.7)}, None),
            SampleCurve("outline", "sim/small", "majority", "stage", (), points, None),
        ),
        curves=(
            StageCurve(name, large, "majority", curve, True, 4),
            StageCurve("outline", "sim/small", "majority", curve, False, None),
        ),
        influence=(Influence("outline", estimate(0.9), estimate(0.2)),),
        singles=(Single(name, large, estimate(0.5)),),
        other_models=(
            OtherModel(
                name,
                "sim/small",
                large,
                None,
                Single(name, large, estimate(0.5)),
                3,
                1,
                difference(0.1),
                allocation,
                Predicted(0.5, 0.4, 0.6),
                1.0,
                1e-12,
                text,
            ),
        ),
        fit=FIT,
    )


def _course(trials: tuple[TrialFact, ...], text: str) -> Course:
    steps, best = [], trials[0]
    for i, trial in enumerate(trials):
        best = max(best, trial, key=lambda one: one.score or 0.0)
        steps.append(
            Step(trial.number, best.number, best.score, 3.0 * (i + 1), 100 * (i + 1), 30 * i, 7.0 * i)
        )
    insight = InsightFact(0, text, (1, 2), 0.7)
    rounds = tuple(
        RoundFact(
            i,
            tuple(range(4 * i, min(4 * i + 4, len(trials)))),
            {"planner": 3, "curves": 1},
            300,
            (insight,) if i < 5 else (),
            (),
        )
        for i in range((len(trials) + 3) // 4)
    )
    return Course(tuple(steps), "gflops", rounds, 3, 500, 120, 0.4, 9, 1, (text,))


def _failures(name: str, text: str) -> Failures:
    group = FailureGroup(name, "ProviderError", 3, (1, 2), text, "p0001")
    samples = (
        SampleProblems(name, "sim/small", "unparsed", 5, 50, text),
        SampleProblems(name, "judge", "unscored", 5, 50, text),
    )
    return Failures((group,), samples, (7,), (8,), (3, 6), 1)


def _pass(i: int, name: str, text: str) -> RolloutFact:
    sample = SampleFact("draw", "sim/small", text, False, text[:50], 1.0, 0.5, True, 20, 30, "length")
    stage = StagePass(
        name,
        f"{name} sim/small x2 majority",
        True,
        (("system", text), ("user", text)),
        (sample, replace(sample, selected=False, cut=True)),
        text,
        1.0,
        (text,),
    )
    return RolloutFact(2 + i % 2, f"p{i // 2:04}", 1.0, (replace(stage, stage="outline"), stage))
