"""AgentHPO: a creator proposes with reasons, an executor reports on the experiments, both over a log.

Each round the executor is shown the results of the last one and writes a report; the creator is shown the log of all
experiments with its own reasons and the reports, and proposes the next.

Source: Liu et al. 2024, arXiv:2402.01881; here over allocations as in Shi et al. 2025, arXiv:2508.00890, section 6.
Departures: the study runs the experiments, so the executor only reports (the paper's writes and runs the training
script); several allocations are asked for at once rather than one; what is over the budget is shrunk until it fits; the
last `RECENT` reports are shown.
"""

from __future__ import annotations

from collections.abc import Generator
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
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.rehearsal import rehearsed
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive, Trial

__all__ = ["AgentHpo"]

REPORT, SEEN = "report", "seen"
"""Keys of the memory: the executor's report, and the number of trials it covers."""
RECENT = 5
MOST_REPORT = 3000
"""Characters kept of a report."""
REPORT_TOKENS = 1000


@dataclass(frozen=True)
class AgentHpo:
    """Ask a planner in the two roles of AgentHPO."""

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: PromptFiles = field(default_factory=lambda: PromptFiles.load("agenthpo"))
    name: str = "agenthpo"

    @classmethod
    def build(cls, options: AllocatorOptions) -> AgentHpo:
        """Make it by options; it has no switches.

        Raises:
            InputError: A switch is given, or a prompt file is broken.
        """
        known_switches(options, "agenthpo")
        return rehearsed(cls(options.briefing, PromptFiles.load("agenthpo", options.prompts)))

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """See `ConversingAllocator.converse`."""
        values = {**space_facts(self.briefing, space), "k": k, "log": _log(archive, space)}
        report, notes, memory = yield from self._report(archive, space, values)
        earlier = [str(m[REPORT]) for m in archive.memory if m.get(REPORT)]
        values["reports"] = [*earlier, *([report] if report else [])][-RECENT:]
        answer = yield PlannerCall(self.prompts.messages("creator", values), reply_schema(space))
        if answer.text is None:
            reading = Reading(notes=(f"no proposals: {answer.problem}",))
        else:
            reading = read_wishes(answer.text, space)
        proposals, more = filled(reading.wishes, archive, space, k, rng, origin=self.name)
        insights = (Insight(report, tuple(t["number"] for t in values["latest"])),) if report else ()
        return Turn(proposals, insights, notes=(*notes, *reading.notes, *more), memory=memory)

    def _report(
        self, archive: Archive, space: Space, values: dict[str, Any]
    ) -> Generator[PlannerCall, PlannerAnswer, tuple[str, tuple[str, ...], dict[str, Any]]]:
        """Ask the executor about the trials since its last report; nothing is asked where there are none."""
        covered = max((int(m[SEEN]) for m in archive.memory if SEEN in m), default=-1)
        latest = [trial for trial in archive.valid if trial.number > covered]
        values["latest"] = _results(archive, space, latest)
        if not latest:
            return "", (), {}
        answer = yield PlannerCall(self.prompts.messages("executor", values), None, REPORT_TOKENS)
        text = clean(answer.text or "", MOST_REPORT)
        if not text:
            return "", (f"no report: {answer.problem or 'the reply is empty'}",), {}
        return text, (), {REPORT: text, SEEN: max(trial.number for trial in latest)}


def _log(archive: Archive, space: Space) -> list[dict[str, Any]]:
    """Return what is known of every scored trial, with the reason it was proposed for."""
    reasons = {trial.number: clean(trial.reason, 300) for trial in archive.valid}
    return [{**facts, "reason": reasons[facts["number"]]} for facts in trial_facts(archive, space)]


def _results(archive: Archive, space: Space, trials: list[Trial]) -> list[dict[str, Any]]:
    """Return what an executor sees of trials: also the mean score of each stage with gold, and failures."""
    by_number = {trial.number: trial for trial in trials}
    return [
        {
            **facts,
            "stage_scores": {
                stage: f"{sum(scores.values()) / len(scores):.3f}"
                for stage, scores in by_number[facts["number"]].stage_scores.items()
                if scores
            },
            "n_failed": by_number[facts["number"]].n_failed,
        }
        for facts in trial_facts(archive, space, trials)
    ]
