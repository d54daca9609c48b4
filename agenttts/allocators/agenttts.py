"""AgentTTS as published: trials by the first insight, then guidelines and candidates by an LLM, round by round.

Each round asks twice: for guidelines drawn from the feedback so far (what is known of the second and third insight is
told), then for candidates, with the whole history, the first guidelines and the last two. Candidates over the budget
are dropped, not mended.

Source: Shi et al. 2025, arXiv:2508.00890, algorithm 1 and section 5, and the authors' code (FairyFali/AgentTTS_Code,
commit 3f0c2df). The wording of the prompts is ours. Departures:

- The ablation switches take an insight out of every prompt and, for the first, out of the opening; the authors' leave
  the second and third in the first prompt.
- A round has as many trials as the study asks for (10 in their code). The opening is spread over rounds; what it leaves
  free in its last round, and candidates that cannot be used, are made up at random, so that rounds are full.
- Costs are those of our budget; theirs bill neither fusion nor selection.
- Numbers of samples that are not on offer become the nearest that are, as their lookup tables do.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
from agenttts.allocators.conversing import (
    Reading,
    clean,
    filled,
    known_switches,
    read_wishes,
    reply_schema,
    space_facts,
    trial_facts,
)
from agenttts.allocators.equal_budget import equal_budget_trials, remembered_opening
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.random import untried
from agenttts.allocators.rehearsal import rehearsed
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["SWITCHES", "AgentTts"]

SWITCHES = ("no_insight1", "no_insight2", "no_insight3")
"""Ablations: each takes one of the paper's insights out."""
GUIDELINES = "guidelines"
"""Key of the memory."""
MOST_GUIDELINES = 4000
"""Characters kept of one reply with guidelines."""
GUIDELINES_TOKENS = 1500
CANDIDATE_TOKENS = 4096


@dataclass(frozen=True)
class AgentTts:
    """Ask a planner as AgentTTS does."""

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: PromptFiles = field(default_factory=lambda: PromptFiles.load("agenttts"))
    switches: Mapping[str, bool] = field(default_factory=lambda: dict.fromkeys(SWITCHES, False))
    name: str = "agenttts"

    @classmethod
    def build(cls, options: AllocatorOptions) -> AgentTts:
        """Make it by options; the switches are `SWITCHES`.

        Raises:
            InputError: An unknown switch or a broken prompt file.
        """
        prompts = PromptFiles.load("agenttts", options.prompts)
        return rehearsed(cls(options.briefing, prompts, known_switches(options, "agenttts", SWITCHES)))

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """See `ConversingAllocator.converse`."""
        plan, memory = self._opening(archive, space, rng)
        due = [a for a in plan if a not in archive.tried and space.feasible(a)]
        if due:
            return self._open(due, archive, space, k, rng, memory)
        return (yield from self._search(archive, space, k, rng, memory))

    def _opening(
        self, archive: Archive, space: Space, rng: np.random.Generator
    ) -> tuple[list[Allocation], dict[str, Any]]:
        def plan() -> list[Allocation]:
            planned = equal_budget_trials(space)
            if self.switches["no_insight1"]:
                return untried(space, len(planned), rng, archive.tried)
            return planned

        return remembered_opening(archive, plan)

    def _open(
        self,
        due: list[Allocation],
        archive: Archive,
        space: Space,
        k: int,
        rng: np.random.Generator,
        memory: dict[str, Any],
    ) -> Turn:
        why = "opening at random" if self.switches["no_insight1"] else "opening: every model at equal cost"
        proposals = [Proposal(allocation, self.name, why) for allocation in due[:k]]
        rest = untried(space, k - len(proposals), rng, archive.tried | set(due))
        proposals += [Proposal(a, self.name, "random, the opening leaves room in the round") for a in rest]
        notes = (f"the opening leaves {len(rest)} of {k} trials to chance",) if rest else ()
        return Turn(proposals, notes=notes, memory=memory)

    def _search(
        self, archive: Archive, space: Space, k: int, rng: np.random.Generator, memory: dict[str, Any]
    ) -> Conversation:
        earlier = [str(m[GUIDELINES]) for m in archive.memory if m.get(GUIDELINES)]
        values = self._values(archive, space, k, earlier)
        answer = yield self._call("guidelines" if earlier else "first_guidelines", values, GUIDELINES_TOKENS)
        guideline, notes = _guideline(answer)
        if guideline:
            memory = memory | {GUIDELINES: guideline}
            values["guidelines"] = _recalled([*earlier, guideline])
        reading = yield from self._candidates(values, space)
        proposals, more = filled(reading.wishes, archive, space, k, rng, origin=self.name, repair=False)
        insights = (Insight(guideline),) if guideline else ()
        return Turn(proposals, insights, notes=(*notes, *reading.notes, *more), memory=memory)

    def _candidates(
        self, values: Mapping[str, Any], space: Space
    ) -> Generator[PlannerCall, PlannerAnswer, Reading]:
        answer = yield self._call("candidates", values, CANDIDATE_TOKENS, reply_schema(space))
        if answer.text is None:
            return Reading(notes=(f"no candidates: {answer.problem}",))
        return read_wishes(answer.text, space)

    def _values(self, archive: Archive, space: Space, k: int, earlier: list[str]) -> dict[str, Any]:
        trials = trial_facts(archive, space)
        return {
            **space_facts(self.briefing, space),
            "k": k,
            "history": trials,
            "latest": trials[-k:],
            "guidelines": _recalled(earlier),
            **{name.removeprefix("no_"): not off for name, off in self.switches.items()},
        }

    def _call(
        self, prompt: str, values: Mapping[str, Any], max_tokens: int, schema: Mapping[str, Any] | None = None
    ) -> PlannerCall:
        return PlannerCall(self.prompts.messages(prompt, values), schema, max_tokens)


def _guideline(answer: PlannerAnswer) -> tuple[str, tuple[str, ...]]:
    if answer.text is None:
        return "", (f"no guidelines: {answer.problem}",)
    text = clean(answer.text, MOST_GUIDELINES)
    return text, () if text else ("no guidelines: the reply is empty",)


def _recalled(guidelines: list[str]) -> list[str]:
    """Return the first guidelines and the last two."""
    return guidelines[:1] + guidelines[1:][-2:]
