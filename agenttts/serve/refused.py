"""A request that gets no answer, as an error in the shape of OpenAI's; and what errors of ours mean to a caller.

A failed provider is never a wrong answer: it becomes 502 (it was asked and failed) or 503 (it is down or busy now), with
its cause. `x-should-retry: false`, which the openai client obeys, says that the same request would fail again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agenttts.errors import (
    AgentTTSError,
    AuthenticationError,
    CardError,
    EndpointDownError,
    InputError,
    ProviderError,
    RateLimitedError,
    RecordedMissError,
    RequestRefusedError,
    TrustError,
)
from agenttts.models.failures import clean
from agenttts.pipeline.pipeline import StageFailedError
from agenttts.pipeline.prompts import PromptRenderError

__all__ = ["Refused", "refusal_of"]

RETRY_DOWN_S, RETRY_LIMITED_S = 15, 5
"""Seconds after which it makes sense to ask again: as long as an endpoint counts as down; a pause for a limit."""
KINDS = {401: "authentication_error", 429: "rate_limit_error"}


class Refused(Exception):  # noqa: N818 - an answer to the caller
    """The request gets no answer.

    Attributes:
        status: HTTP status.
        code: Short word for programs.
        reason: Why, for metrics: `bad_request`, `key`, `queue_full`, `shutdown`, `provider`, `timeout`, `internal`.
        retry_after_s: When to ask again; `None`: not said.
        retry: Whether the same request may be answered when it is sent again.
        stage: The stage that failed; empty: none did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "invalid_request",
        reason: str = "bad_request",
        param: str | None = None,
        retry_after_s: int | None = None,
        retry: bool = False,
        stage: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.reason = reason
        self.param = param
        self.retry_after_s = retry_after_s
        self.retry = retry
        self.stage = stage

    def body(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON of the error; `more` stands beside it as `agenttts`."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error} | ({"agenttts": dict(more)} if more else {})

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        made = {} if self.retry else {"x-should-retry": "false"}
        if self.retry_after_s is not None:
            made["Retry-After"] = str(self.retry_after_s)
        return made


def refusal_of(error: Exception, stage: str = "") -> Refused:
    """Return what an error of the pipeline is to the caller.

    Args:
        error: What was raised.
        stage: Where, if that is known.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, StageFailedError):
        return _of_stage(error)
    where = f"stage {stage}: " if stage else ""
    if isinstance(error, ProviderError):
        return _of_provider(error, where, stage)
    message = f"{where}{clean(str(error))}"
    if isinstance(error, PromptRenderError):
        return Refused(f"the plan does not fit this problem: {message}", code="misfit", stage=stage)
    of_server = isinstance(error, CardError | TrustError)
    if isinstance(error, RecordedMissError | InputError) and not of_server:
        return Refused(message, code=_word(error), stage=stage)
    if isinstance(error, AgentTTSError):
        return Refused(message, status=500, code=_word(error), reason="internal", stage=stage)
    # The text of a bug may quote a prompt; its name does not.
    return Refused(
        f"{where}{type(error).__name__}: this is a bug in agenttts, or in a function of the task",
        status=500,
        code="internal",
        reason="internal",
        stage=stage,
    )


def _of_stage(error: StageFailedError) -> Refused:
    failure, cause = error.failure, error.__cause__
    if isinstance(cause, Exception):
        return refusal_of(cause, failure.stage)
    # A test that could not be run is no test that failed.
    message = f"stage {failure.stage}: {clean(failure.message)}"
    return Refused(message, status=502, code="unscored", reason="provider", stage=failure.stage)


def _of_provider(error: ProviderError, where: str, stage: str) -> Refused:
    message = f"{where}{clean(str(error))}"
    code = _word(error)
    if isinstance(error, EndpointDownError | RateLimitedError):
        wait_s = RETRY_DOWN_S if isinstance(error, EndpointDownError) else RETRY_LIMITED_S
        return Refused(
            message, status=503, code=code, reason="provider", retry_after_s=wait_s, retry=True, stage=stage
        )
    final = isinstance(error, AuthenticationError | RequestRefusedError)
    return Refused(message, status=502, code=code, reason="provider", retry=not final, stage=stage)


def _word(error: Exception) -> str:
    """Return e.g. `endpoint_down` for an `EndpointDownError`."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("_")
