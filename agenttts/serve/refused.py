"""A request that gets no answer, as an error in the shape of OpenAI's; and what errors of ours mean to a caller.

A failed provider is never a wrong answer: it becomes 502 (it was asked and failed) or 503 (it is down or busy now), with
its cause as a code. Where the models are and how to mend them is for the operator, whose log tells it; a caller reads
neither. `x-should-retry: false`, which the openai client obeys, says that the same request would fail again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agenttts.errors import (
    AgentTTSError,
    AuthenticationError,
    CardError,
    EndpointDownError,
    InputError,
    NotServedError,
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
SAID: Mapping[type[ProviderError], str] = {
    EndpointDownError: "a model of this plan cannot be reached now; ask again later",
    RateLimitedError: "a model of this plan is busy now; ask again later",
    AuthenticationError: "a model of this plan does not let this server in",
    NotServedError: "a model of this plan is not served at present",
}
"""What a caller is told; of other kinds, that there was no usable reply."""
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.\-]*://[^\s'\"<>]+[^\s'\"<>.,:;)]", re.IGNORECASE)
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
        detail: What the operator is told in place of the message, addresses and advice included.
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
        detail: str = "",
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
        self.detail = detail or message

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
        told = f"{where}this is a fault of the server; its log says more"
        return Refused(told, status=500, code=_word(error), reason="internal", stage=stage, detail=message)
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
    detail = f"stage {failure.stage}: {clean(failure.message)}"
    message = _without_addresses(detail)
    return Refused(
        message, status=502, code="unscored", reason="provider", stage=failure.stage, detail=detail
    )


def _of_provider(error: ProviderError, where: str, stage: str) -> Refused:
    wait_s = {EndpointDownError: RETRY_DOWN_S, RateLimitedError: RETRY_LIMITED_S}.get(type(error))
    final = isinstance(error, AuthenticationError | RequestRefusedError)
    return Refused(
        f"{where}{_told_of(error)}",
        status=502 if wait_s is None else 503,
        code=_word(error),
        reason="provider",
        retry_after_s=wait_s,
        retry=not final,
        stage=stage,
        detail=f"{where}{clean(str(error))}",
    )


def _told_of(error: ProviderError) -> str:
    """Return what a caller is told: of a request that was refused the reason, which the caller may mend."""
    if (said := SAID.get(type(error))) is not None:
        return said
    if isinstance(error, RequestRefusedError):
        return f"a model of this plan refuses the request: {_without_addresses(clean(str(error)), error.endpoint)}"
    return "a model of this plan gave no usable reply"


def _without_addresses(text: str, endpoint: str = "") -> str:
    if endpoint:
        text = text.replace(f"{endpoint}: ", "").replace(endpoint, "(address)")
    return _ADDRESS.sub("(address)", text)


def _word(error: Exception) -> str:
    """Return e.g. `endpoint_down` for an `EndpointDownError`."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("_")
