"""The agent on a space with a stage that runs on a condition."""

from __future__ import annotations

import json

import numpy as np

from agenttts.allocators.agent import Agent
from agenttts.allocators.base import PlannerAnswer, PlannerCall
from agenttts.allocators.evidence import evidence_text, gather
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import hold
from tests.allocators.test_conditional_space import made

SPACE = made(12.0)


def trials(n: int) -> list[Trial]:
    rng = np.random.default_rng(0)
    rows = SPACE.sample(rng, 4 * n)
    allocations = list(dict.fromkeys(SPACE.allocation(row) for row in rows))[:n]
    return [
        Trial(
            i,
            allocation,
            "ok",
            {f"p{p}": float(rng.random() < 0.6) for p in range(20)},
            1.0,
            origin="opening",
        )
        for i, allocation in enumerate(allocations)
    ]


def test_thresholds_are_shown_asked_for_and_followed():
    archive = Archive.of(trials(24))
    asked: list[PlannerCall] = []
    wanted = next(
        a
        for a in map(SPACE.allocation, SPACE.sample(np.random.default_rng(5), 200))
        if a not in archive.tried and any(c.below for c in a.choices)
    )

    def planner(call: PlannerCall) -> PlannerAnswer:
        asked.append(call)
        stages = {entry.pop("stage"): entry for entry in wanted.to_json()}
        return PlannerAnswer(json.dumps({"allocations": [{"stages": stages}]}))

    turn = hold(Agent().converse(archive, SPACE, 4, np.random.default_rng(0)), planner)
    assert len(turn.proposals) == 4
    assert turn.proposals[0].origin == "agent"
    assert turn.proposals[0].allocation == wanted
    assert "below" in asked[0].messages[0].content
    assert all(SPACE.feasible(proposal.allocation) for proposal in turn.proposals)
    assert "escalate" in evidence_text(gather(archive, SPACE))
