"""What a model call is: request, sample, usage, and the one method that every source of samples has.

Values only. Where samples come from lives in the modules beside this one; keeping them lives in `agenttts.store`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = ["CallUsage", "Message", "Meter", "ModelClient", "Reply", "Request", "Sample", "SamplingParameters"]

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How a completion is drawn. Part of the identity of a stream of draws."""

    temperature: float = 0.8
    max_tokens: int = 1024
    """Most tokens of one completion; the worst case that a reservation counts on."""
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    """Shifts the seeds of all draws; another value gives other draws of the same law."""
    logprobs: bool = False
    """Ask for the log-probability of every token drawn."""
    top_logprobs: int = 0
    """Ask for the likeliest tokens at each place, this many, with their log-probabilities (`Sample.details`)."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further request fields, sorted by name, each value as JSON text (e.g. `("reasoning_effort", '"low"')`)."""


@dataclass(frozen=True)
class Request:
    """One prompt to one model. All draws of the same request form one numbered stream."""

    model: str
    """Card name, e.g. `tiny/xs`."""
    endpoint: str
    """Identity of where it is served: `tiny:<digest of the weights>`, a base URL, `litellm`, `recorded:<digest>`."""
    messages: tuple[Message, ...]
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    stage: str = ""
    """For sources and logs; not part of the identity, except of recorded draws (see `place`)."""
    problem_id: str = ""
    """As `stage`."""
    place: str = ""
    """Set by recordings, which know a draw by its stage and problem, and by nothing else; part of the identity."""

    @cached_property
    def key(self) -> str:
        """Identity of the stream of draws: 64 hexadecimal digits (SHA-256)."""
        return _digest([self.endpoint, *self._law(), self.place])

    @cached_property
    def base_seed(self) -> int:
        """Seed of draw 0, in [0, 2**31); draw i uses `base_seed + i`.

        It depends on model, messages and sampling but not on the endpoint, so that the same model gives the same
        draws in-process and over HTTP. It differs between prompts: with one seed for all, the noise of different
        problems would be correlated and every interval too narrow.
        """
        return int(_digest(self._law())[:8], 16) >> 1

    def _law(self) -> list[Any]:
        sampling = asdict(self.sampling)
        if not self.sampling.top_logprobs:  # added later: what does not use it keeps its streams
            del sampling["top_logprobs"]
        return [self.model, [[m.role, m.content] for m in self.messages], sampling]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CallUsage:
    """Tokens of one prompt that was answered once or several times."""

    prefill_tokens: int
    """Tokens of the prompt, counted once."""
    decode_tokens: tuple[int, ...]
    """Tokens written, one entry per sample, shape (n_samples,)."""
    cached_prefill_tokens: int = 0
    """Part of `prefill_tokens` that the server had in its cache and bills at the cached price."""
    counted_by: str = "server"
    """`server` where the endpoint reported usage; `server, split by <counter>` where only the total over several
    choices was reported; else the name of the token counter that estimated it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion, the `index`-th draw of its stream."""

    index: int
    text: str
    finish_reason: str
    """`stop`, `length`, or what else the endpoint said."""
    prefill_tokens: int
    decode_tokens: int
    cached_prefill_tokens: int = 0
    counted_by: str = "server"
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each token drawn; `None` where not asked for or not given."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able extras of the source (e.g. `reasoning`, `recorded_answer`, `recorded_score`).

    `top_logprobs`, where they were asked for and given: for each token drawn, in order, `[token, [[token,
    log-probability], ...]]`, the drawn one and the likeliest ones at its place.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply that is billed: what it holds and what it cost."""

    samples: tuple[Sample, ...]
    """Empty where the reply is billed but cannot be used."""
    usage: CallUsage

    @classmethod
    def of_equals(
        cls, text: str, ending: str, details: Mapping[str, Any], usage: CallUsage, indices: range
    ) -> Reply:
        """Return equal samples of a model that writes nothing and gives the same each time; one call serves all draws."""
        read, cached, counted_by = usage.prefill_tokens, usage.cached_prefill_tokens, usage.counted_by
        samples = (Sample(i, text, ending, read, 0, cached, counted_by, None, details) for i in indices)
        return cls(tuple(samples), usage)


@runtime_checkable
class Meter(Protocol):
    """Asked before every provider call that a draw makes, told what came of it.

    A draw of n samples may take several calls: each reads the prompt anew, and a failed one may be billed too. Only
    the client knows them, so the client reports them here; summing over samples would not give the bill.
    """

    async def before(self, worst: CallUsage) -> Callable[[Reply | None], None]:
        """Allow one call whose cost is at most `worst`.

        Returns:
            What must be called exactly once when the call has ended: with its reply, or with `None` where nothing
            came back. It does not block and does not raise.

        Raises:
            SearchBudgetExhausted: The call may not be made.
        """
        ...


@runtime_checkable
class ModelClient(Protocol):
    """Where samples come from."""

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return draws `first` to `first + n - 1` of the request's stream, in that order.

        A client may split the work over several provider calls, each of which it reports to `meter`. It either
        returns all `n` samples or raises; what it has already received when a later part fails is attached to the
        error as `partial` (a list of `Sample`) and has been told to `meter`, so that nothing paid for is lost.

        Raises:
            ProviderError: No samples, after the retries that its kind deserves.
            RecordedMissError: A recording does not hold one of these draws.
            SearchBudgetExhausted: `meter` did not allow a call.
        """
        ...
