"""The allocator `agent`: opens as the paper does, then asks a planner each round and shares the round with `curves`.

The planner is given evidence rather than left to find it, and everything it writes is checked. What it cannot do is
harm: a reply that is malformed, hostile, late or absent costs the round's call at most, and its place is taken by
`curves`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agenttts.allocators.agent.replies import MOST_INSIGHTS, Advice, agent_schema, read_advice, usable
from agenttts.allocators.agent.sharing import FIRST, Patience, next_number, planner_slots
from agenttts.allocators.base import (
    AllocatorOptions,
    Briefing,
    Conversation,
    Insight,
    PlannerAnswer,
    PlannerCall,
    Proposal,
    Turn,
)
from agenttts.allocators.conversing import clean, known_switches, space_facts, trial_facts
from agenttts.allocators.curves import Curves
from agenttts.allocators.equal_budget import equal_budget_trials, remembered_opening
from agenttts.allocators.evidence import Evidence, evidence_text, gather
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.rehearsal import rehearsal_archive, rehearsal_space
from agenttts.allocators.space import Space
from agenttts.models.base import Message
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["Agent"]

CURVES, OPENING = "curves", "opening"
"""Origins of the trials that the planner has no part in."""
MOST_OPENING = 12
"""Trials of the opening. With more models than that, `curves` sees to the rest."""
MOST_REPAIRS = 2
N_TOP, N_LAST = 12, 12
"""Trials that a prompt shows: the best ones, and the last ones."""
MOST_SHOWN = 24
"""Insights that a prompt shows, the latest."""
MOST_ECHOED = 4000
"""Characters of a malformed reply that are sent back."""
MOST_TOLD = 8
MOST_NOTE = 300

Asked = Generator[PlannerCall, PlannerAnswer, "_Heard"]


@dataclass(frozen=True)
class _Heard:
    """What came of asking in one round."""

    advice: Advice = field(default_factory=Advice)
    proposals: tuple[Proposal, ...] = ()
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    """What the planner should hear of its reply in its next prompt."""

    @property
    def failed(self) -> bool:
        """Whether the round's call was for nothing."""
        return not self.proposals


@dataclass(frozen=True)
class Agent:
    """Ask an LLM planner, check what it says, and share each round between it and `curves` by recent gain.

    Opening without a call: every model of a stage at equal budget (first insight of the paper). Then a call a round,
    with evidence computed from the trials; the reply holds insights that cite trials, curve sketches that become priors
    of `curves`, and proposals. Where no proposal can be used, at most two calls more tell the planner why.

    Source: Shi et al. 2025, arXiv:2508.00890, section 5 (opening, guidelines from insights, proposals). Departures: the
    above checks, evidence in place of raw history alone, and the sharing with a model-based search; the sketches follow
    ZEBRA, arXiv:2605.20485, whose solver is replaced by `curves`.
    """

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: PromptFiles = field(default_factory=lambda: PromptFiles.load("agent"))
    name: str = "agent"

    @classmethod
    def build(cls, options: AllocatorOptions) -> Agent:
        """Make it by options; it has no switches.

        Raises:
            InputError: A switch is given, or a prompt file is broken.
        """
        known_switches(options, "agent")
        agent = cls(options.briefing, PromptFiles.load("agent", options.prompts))
        agent._rehearse()
        return agent

    def _rehearse(self) -> None:
        """Render every prompt once, so that a broken one is found before anything is spent."""
        space = rehearsal_space()
        archive = rehearsal_archive(space)
        self._first_messages(archive, space, gather(archive, space), 1, ("note",))
        self._repair_message(space, 1, ("problem",))

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """See `ConversingAllocator.converse`."""
        archive = replace(archive, trials=Archive.of(archive.trials).trials)
        first = {FIRST: next_number(archive)}
        opened, memory = self._opening(archive, space)
        if opened:
            proposals = self._filled(opened[:k], archive, space, k, rng)
            return Turn(proposals, memory={**first, **memory})
        patience = Patience.of(archive)
        slots = planner_slots(archive, k, len(archive.memory), planner=self.name, curves=CURVES)
        if slots == 0 or patience.skip > 0:
            proposals = self._filled([], archive, space, k, rng)
            memory = {**first, **patience.skipped().to_json(), "told": _told(archive)}
            return Turn(proposals, notes=patience.notes, memory=memory)
        heard = yield from self._ask(archive, space, k)
        known = archive.with_turn(heard.advice.insights, heard.advice.sketches, {})
        proposals = self._filled(list(heard.proposals[:slots]), known, space, k, rng)
        return Turn(
            proposals,
            heard.advice.insights,
            heard.advice.sketches,
            heard.notes,
            {**first, **patience.after(failed=heard.failed).to_json(), "told": list(heard.told[:MOST_TOLD])},
        )

    # --- without a planner -------------------------------------------------------------------------------------

    def _opening(self, archive: Archive, space: Space) -> tuple[list[Proposal], dict[str, Any]]:
        """Return the trials of the opening that are still to come, and what to remember of it."""
        chosen, memory = remembered_opening(archive, lambda: _thinned(equal_budget_trials(space)))
        n_done = sum(trial.origin == OPENING for trial in archive.trials)
        if n_done >= len(chosen) or len(archive.trials) >= 2 * MOST_OPENING:
            return [], {}
        seen = {trial.allocation for trial in archive.trials}
        due = [
            Proposal(allocation, OPENING, "opening: a model at the price of its stage's largest")
            for allocation in chosen
            if allocation not in seen and allocation not in archive.tried and space.feasible(allocation)
        ]
        return due, memory

    def _filled(
        self, first: list[Proposal], archive: Archive, space: Space, k: int, rng: np.random.Generator
    ) -> list[Proposal]:
        """Return `first` and enough proposals of `curves`."""
        if len(first) >= k:
            return first
        taken = {proposal.allocation for proposal in first}
        others = [p for p in Curves(CURVES).propose(archive, space, k, rng) if p.allocation not in taken]
        return [*first, *others[: k - len(first)]]

    # --- with one ----------------------------------------------------------------------------------------------

    def _ask(self, archive: Archive, space: Space, k: int) -> Asked:
        """Ask, and ask again where no proposal can be used, telling why."""
        evidence = gather(archive, space)
        schema = agent_schema(space)
        messages = self._first_messages(archive, space, evidence, k, tuple(_told(archive)))
        heard = _Heard()
        for attempt in range(1 + MOST_REPAIRS):
            answer = yield PlannerCall(messages, schema)
            if answer.text is None:
                note = f"no advice from the planner: {clean(answer.problem, MOST_NOTE)}"
                return replace(heard, notes=(*heard.notes, note))
            heard = self._heard(answer.text, archive, space, evidence, heard, attempt)
            if heard.proposals:
                return heard
            said = clean(answer.text, MOST_ECHOED) or "(nothing readable)"
            repair = self._repair_message(space, k, heard.told[:MOST_TOLD])
            messages = (*messages, Message("assistant", said), repair)
        return heard

    def _heard(
        self, text: str, archive: Archive, space: Space, evidence: Evidence, before: _Heard, attempt: int
    ) -> _Heard:
        advice = read_advice(text, archive, space, evidence)
        proposals, about = usable(advice.wishes, archive, space, origin=self.name)
        problems = tuple(clean(note, MOST_NOTE) for note in (*advice.notes, *about))
        which = f"repair {attempt}: " if attempt else ""
        # What an earlier attempt said of insights and sketches stands; a later one comes on top of it.
        merged = replace(
            advice,
            insights=tuple(dict.fromkeys((*before.advice.insights, *advice.insights))),
            sketches=(*before.advice.sketches, *advice.sketches),
        )
        notes = (*before.notes, *(which + problem for problem in problems))
        if not proposals:
            notes = (*notes, f"{which}no proposal of the planner could be used")
        return _Heard(merged, tuple(proposals), notes, problems)

    def _first_messages(
        self, archive: Archive, space: Space, evidence: Evidence, k: int, told: tuple[str, ...]
    ) -> tuple[Message, ...]:
        best = sorted(archive.valid, key=lambda trial: (-archive.estimate(trial), trial.number))[:N_TOP]
        shown = {trial.number: trial for trial in (*best, *archive.valid[-N_LAST:])}
        values = {
            **self._form(space, k),
            "history": trial_facts(archive, space, list(shown.values())),
            "n_left_out": len(archive.valid) - len(shown),
            "evidence": evidence_text(evidence),
            "insights": [_insight_facts(insight) for insight in archive.insights[-MOST_SHOWN:]],
            "told": list(told),
        }
        return self.prompts.messages("propose", values)

    def _repair_message(self, space: Space, k: int, problems: tuple[str, ...]) -> Message:
        values = {**self._form(space, k), "problems": list(problems) or ["it holds no allocation"]}
        return self.prompts.messages("repair", values)[0]

    def _form(self, space: Space, k: int) -> dict[str, Any]:
        return {**space_facts(self.briefing, space), "k": k, "most_insights": MOST_INSIGHTS}


def _thinned(planned: Sequence[Allocation]) -> list[Allocation]:
    step = max(1.0, len(planned) / MOST_OPENING)
    return [planned[int(i * step)] for i in range(min(MOST_OPENING, len(planned)))]


def _insight_facts(insight: Insight) -> Mapping[str, Any]:
    return {"text": insight.text, "trials": list(insight.trials), "confidence": insight.confidence}


def _told(archive: Archive) -> list[str]:
    """Return what the planner has not heard yet of its last reply."""
    memory: Mapping[str, Any] = archive.memory[-1] if archive.memory else {}
    return [str(note) for note in memory.get("told", [])]
