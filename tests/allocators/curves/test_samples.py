"""What is read from trials for the fits."""

from __future__ import annotations

from dataclasses import replace

from agenttts.allocators.curves.samples import Samples
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.testing.surfaces import chain_space


def test_a_score_averaged_over_other_draws_is_no_outcome_of_its_own_samples():
    space = chain_space(1, {"m": 1.0}, (1, 2))
    allocation = Allocation((StageChoice("stage0", "m", 2, "majority"),))
    own = Trial(
        0,
        allocation,
        "ok",
        {"p": 0.5},
        2.0,
        stage_scores={"stage0": {"p": 0.5}},
        sample_scores={"stage0": {"p": (1.0, 0.0)}},
    )
    (use,) = Samples(space, (own,)).selected("stage0", "m", "majority")
    assert use.right.tolist() == [1.0]
    assert not Samples(space, (replace(own, estimated_from={"stage0": 8}),)).selected(
        "stage0", "m", "majority"
    )


def test_of_pooled_votes_the_samples_count_whatever_the_watched_stage_said_and_the_outcome_does_not():
    stages = tuple(
        tuple(StageChoice(name, "m", n, "first" if n == 1 else "majority", below) for n in (1, 2))
        for name, below in (("try", None), ("again", 1.01))
    )
    structure = Structure(
        {"again": ("try",)}, "again", {(name, "majority"): "majority" for name in ("try", "again")}
    )
    pooled = replace(structure, when={"again": "try"}, pooled=frozenset({"again"}))
    trial = Trial(
        0,
        Allocation((stages[0][0], stages[1][1])),
        "ok",
        {"p": 0.0, "q": 1.0},
        2.0,
        stage_scores={"try": {"p": 0.0, "q": 1.0}, "again": {"p": 0.0, "q": 1.0}},
        sample_scores={
            "try": {"p": (0.0,), "q": (1.0,)},
            "again": {"p": (1.0, 0.0), "q": (1.0, 1.0)},
        },
    )

    def samples(how: Structure) -> Samples:
        return Samples(Space(stages, ((1.0, 2.0), (1.0, 2.0)), Budget(9.0, Unit.TOKENS), how), (trial,))

    alone_wrong, alone_right = samples(replace(structure, when={"again": "try"})).counts("again", "m")
    assert (alone_wrong.n.tolist(), alone_right.n.tolist()) == ([2, 0], [0, 2])
    wrong, right = samples(pooled).counts("again", "m")
    assert (wrong.n.tolist(), right.n.tolist()) == ([0, 0], [2, 2])
    assert samples(replace(structure, when={"again": "try"})).selected("again", "m", "majority")
    assert not samples(pooled).selected("again", "m", "majority")
