"""Doubles of what costs money, for tests of pipelines, studies and plug-ins. Not a source of figures.

sampler = ScriptedSampler(lambda request, index: "42")
rollout = await pipeline.run(problem, allocation, clients=ScriptedRequests(), sampler=sampler, cost_model=...)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agenttts.models.base import Message, Request, Sample, SamplingParameters
from agenttts.models.sampler import Drawn

__all__ = ["ScriptedRequests", "ScriptedSampler"]

Script = Callable[[Request, int], str | Sample]


class ScriptedRequests:
    """Makes requests to the endpoint `simulated`; stands in for `Clients` where only requests are made."""

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        *,
        stage: str = "",
        problem_id: str = "",
    ) -> Request:
        """Return the request for a prompt to a model."""
        return Request(model, "simulated", tuple(messages), sampling, stage, problem_id)


class ScriptedSampler:
    """Draws what a script says, keeps it, and counts what was paid.

    Args:
        script: Called with (request, draw index), returns the text, or the whole sample; what it raises, the sampler
            raises. A text counts one token per word, in prompts too.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._held: dict[str, list[Sample]] = {}
        self.asked: list[tuple[Request, int, str]] = []
        """Every call: (request, n, purpose)."""

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """See `Sampler.sample`."""
        self.asked.append((request, n, purpose))
        held = self._held.setdefault(request.key, [])
        n_reused = min(n, len(held))
        while len(held) < n:
            held.append(self._sample(request, len(held)))
        return Drawn(tuple(held[:n]), n - n_reused, n_reused)

    def n_asked(self, purpose: str) -> int:
        """Return how many draws of a purpose were asked for."""
        return sum(n for _, n, given in self.asked if given == purpose)

    def _sample(self, request: Request, index: int) -> Sample:
        said = self._script(request, index)
        if isinstance(said, Sample):
            return said
        prefill = sum(len(message.content.split()) for message in request.messages)
        return Sample(index, said, "stop", prefill, len(said.split()))
