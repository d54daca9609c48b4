"""Zero-shot proposals: an LLM names allocations from the description of the task alone.

It is told the task, the stages and the budget, and which allocations were tried, so that it names others; never how
they scored.

Source: the baseline `LLM_ZS` of Shi et al. 2025, arXiv:2508.00890, section 6, of which no code is public; in kind the
zero-shot prompting of Zhang et al. 2023, arXiv:2304.14979. Departures: several allocations are asked for at once, and
what is over the budget is shrunk until it fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agenttts.allocators.base import AllocatorOptions, Briefing, Conversation, PlannerCall, Turn
from agenttts.allocators.conversing import (
    Reading,
    filled,
    known_switches,
    read_wishes,
    reply_schema,
    space_facts,
)
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.rehearsal import rehearsed
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive

__all__ = ["LlmZs"]


@dataclass(frozen=True)
class LlmZs:
    """Ask a planner that sees no results."""

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: PromptFiles = field(default_factory=lambda: PromptFiles.load("llm_zs"))
    name: str = "llm_zs"

    @classmethod
    def build(cls, options: AllocatorOptions) -> LlmZs:
        """Make it by options; it has no switches.

        Raises:
            InputError: A switch is given, or a prompt file is broken.
        """
        known_switches(options, "llm_zs")
        return rehearsed(cls(options.briefing, PromptFiles.load("llm_zs", options.prompts)))

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """See `ConversingAllocator.converse`."""
        trials = sorted(archive.trials, key=lambda trial: trial.number)
        tried = dict.fromkeys(str(trial.allocation) for trial in trials)
        values = {**space_facts(self.briefing, space), "k": k, "tried": list(tried)}
        answer = yield PlannerCall(self.prompts.messages("propose", values), reply_schema(space))
        if answer.text is None:
            reading = Reading(notes=(f"no proposals: {answer.problem}",))
        else:
            reading = read_wishes(answer.text, space)
        proposals, notes = filled(reading.wishes, archive, space, k, rng, origin=self.name)
        return Turn(proposals, notes=(*reading.notes, *notes))
