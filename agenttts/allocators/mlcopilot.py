"""MLCopilot: experience in words rather than numbers, knowledge drawn from it, and suggestions by both.

Numbers of samples and scores of known trials become levels (`very low` to `very high`). Each round the planner is asked
what knowledge the experience holds, then for allocations in levels, which become numbers again.

Source: Zhang et al. 2023, arXiv:2304.14979. Departures: there is no pool of experience with other tasks, so the study's
own trials stand for it and the first round is drawn at random; knowledge is drawn anew each round, once, rather than
once offline with validation of several versions; the examples shown are the best and the worst trials rather than those
of the most similar tasks; what is over the budget is shrunk until it fits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agenttts.allocators.base import (
    AllocatorOptions,
    Briefing,
    Conversation,
    Insight,
    PlannerAnswer,
    PlannerCall,
    Turn,
)
from agenttts.allocators.conversing import (
    Reading,
    Wish,
    clean,
    filled,
    known_switches,
    read_wishes,
    reply_schema,
    space_facts,
)
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.rehearsal import rehearsed
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["LEVELS", "MlCopilot", "level_of_count", "levels_of"]

LEVELS = ("very low", "low", "medium", "high", "very high")
KNOWLEDGE = "knowledge"
"""Key of the memory."""
MOST_KNOWLEDGE = 3000
"""Characters kept of a reply with knowledge."""
KNOWLEDGE_TOKENS = 1000
N_BEST, N_WORST = 30, 10
"""Trials told as experience."""


@dataclass(frozen=True)
class MlCopilot:
    """Ask a planner that reads experience in levels."""

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: PromptFiles = field(default_factory=lambda: PromptFiles.load("mlcopilot"))
    name: str = "mlcopilot"

    @classmethod
    def build(cls, options: AllocatorOptions) -> MlCopilot:
        """Make it by options; it has no switches.

        Raises:
            InputError: A switch is given, or a prompt file is broken.
        """
        known_switches(options, "mlcopilot")
        return rehearsed(cls(options.briefing, PromptFiles.load("mlcopilot", options.prompts)))

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """See `ConversingAllocator.converse`."""
        if not archive.valid:
            proposals, _ = filled((), archive, space, k, rng, origin=self.name)
            why = "random, there is no experience yet"
            return Turn([replace(proposal, reason=why) for proposal in proposals])
        values = {**space_facts(self.briefing, space), "k": k, "levels": LEVELS}
        values["experience"] = experience(archive, space)
        knowledge, notes = yield from self._knowledge(values)
        earlier = [str(m[KNOWLEDGE]) for m in archive.memory if m.get(KNOWLEDGE)]
        values["knowledge"] = knowledge or (earlier[-1] if earlier else "")
        schema = reply_schema(space, levels=LEVELS)
        answer = yield PlannerCall(self.prompts.messages("suggest", values), schema)
        if answer.text is None:
            reading = Reading(notes=(f"no proposals: {answer.problem}",))
        else:
            reading = read_wishes(answer.text, space, levels=LEVELS)
        wishes = _within_levels(reading.wishes, archive, space)
        proposals, more = filled(wishes, archive, space, k, rng, origin=self.name)
        insights = (Insight(knowledge),) if knowledge else ()
        memory = {KNOWLEDGE: knowledge} if knowledge else {}
        return Turn(proposals, insights, notes=(*notes, *reading.notes, *more), memory=memory)

    def _knowledge(
        self, values: dict[str, Any]
    ) -> Generator[PlannerCall, PlannerAnswer, tuple[str, tuple[str, ...]]]:
        answer = yield PlannerCall(self.prompts.messages("knowledge", values), None, KNOWLEDGE_TOKENS)
        text = clean(answer.text or "", MOST_KNOWLEDGE)
        return text, () if text else (f"no knowledge: {answer.problem or 'the reply is empty'}",)


def experience(archive: Archive, space: Space) -> list[str]:
    """Return the best and the worst trials in words, best first.

    Scores become levels by their rank among all trials; numbers of samples by their place among those on offer.
    """
    ranked = sorted(archive.valid, key=lambda trial: (-archive.estimate(trial), trial.number))
    scores = sorted(archive.estimate(trial) for trial in ranked)
    shown = ranked if len(ranked) <= N_BEST + N_WORST else [*ranked[:N_BEST], *ranked[-N_WORST:]]
    lines = []
    for trial in shown:
        words = "; ".join(levels_of(trial.allocation, space))
        # The middle of equal scores, so that equal scores share a level.
        score = archive.estimate(trial)
        below, equal = sum(s < score for s in scores), scores.count(score)
        rank = (below + equal / 2) / len(scores)
        lines.append(f"{words} => score {LEVELS[min(int(rank * len(LEVELS)), len(LEVELS) - 1)]}")
    return lines


def levels_of(allocation: Allocation, space: Space) -> list[str]:
    """Return each stage's choice in words, e.g. `solve 7B, samples very low, majority`."""
    found = []
    for choices, choice in zip(space.stages, allocation.choices, strict=True):
        if choice.below == 0:
            found.append(f"{choice.stage} off")
            continue
        level = level_of_count(choice.n_samples, [c.n_samples for c in choices])
        how = "" if choice.n_samples == 1 else f", {choice.select}"
        when = "" if choice.below is None else f", below {choice.below:g}"
        found.append(f"{choice.stage} {choice.model}, samples {level}{how}{when}")
    return found


def level_of_count(n: int, counts: Iterable[int]) -> str:
    """Return the level of a number of samples: its place among those on offer, in fifths."""
    offered = sorted(set(counts))
    place = sum(count < n for count in offered)
    return LEVELS[min(int((place + 0.5) / len(offered) * len(LEVELS)), len(LEVELS) - 1)]


def _within_levels(wishes: Sequence[Wish], archive: Archive, space: Space) -> list[Wish]:
    """Replace wishes that are known by new ones of the same levels, where there are some.

    A level stands for several numbers of samples; only the middle one would ever be tried else.
    """
    taken = set(archive.tried)
    found = []
    for wish in wishes:
        options = [wish.allocation, *_same_levels(wish.allocation, space)]
        new = next((a for a in options if a not in taken and space.feasible(a)), wish.allocation)
        taken.add(new)
        found.append(replace(wish, allocation=new))
    return found


def _same_levels(allocation: Allocation, space: Space) -> list[Allocation]:
    """Return allocations that differ in one stage's number of samples and read the same in levels."""
    words = levels_of(allocation, space)
    found = []
    for s, (choices, choice) in enumerate(zip(space.stages, allocation.choices, strict=True)):
        for other in choices:
            changed = Allocation((*allocation.choices[:s], other, *allocation.choices[s + 1 :]))
            if other != choice and other.model == choice.model and levels_of(changed, space) == words:
                found.append(changed)
    return found
