"""What is read from trials for the fits."""

from __future__ import annotations

from dataclasses import replace

from agenttts.allocators.curves.samples import Samples
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
