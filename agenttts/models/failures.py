"""Errors of the openai and litellm SDKs, translated once into ours.

Both raise the same family: litellm's exceptions derive from openai's. What they say is shown without control
characters, cut to a sensible length, and never with a key in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agenttts.errors import (
    AuthenticationError,
    EndpointDownError,
    NotServedError,
    ProviderUnavailableError,
    RateLimitedError,
    RequestRefusedError,
)
from agenttts.models.retry import AttemptFailed, retry_after_s

__all__ = ["clean", "translate"]

LONGEST_MESSAGE = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_KEY = re.compile(r"(?i)\b((?:sk|pk|rk|gsk|hf|xai)[-_])[A-Za-z0-9_\-.*]{4,}")
"""What looks like a key wherever it stands."""
_NAMED_KEY = re.compile(
    r"(?i)\b(api[-_ ]?key['\"]?\s*[=:]\s*['\"]?|key=|bearer[ =:]+)(?!(?:sk|pk|rk|gsk|hf|xai)[-_])[A-Za-z0-9_\-.*]{8,}"
)
"""What is said to be one, right after the word."""
_SAID_KEY = re.compile(
    r"(?i)\b(key(?: [a-z]+){0,3}(?:['\"]?\s*[=:]\s*|\s+)['\"]?)(?=[A-Za-z_\-.]*[0-9*])[A-Za-z0-9_\-.*]{8,}"
)
"""What may be one some words later: it holds a digit or a star, as words do not."""
_NO_CONNECTION = frozenset(
    {"ConnectError", "ClientConnectorError", "ClientConnectorDNSError", "ConnectionRefusedError", "gaierror"}
)
_CLOSED = frozenset(
    {"ServerDisconnectedError", "RemoteProtocolError", "ConnectionResetError", "BrokenPipeError"}
)
_REFUSED = re.compile(r"Connect call failed|Cannot connect to host|[Cc]onnection refused")
_NAMES_A_MODEL = re.compile(r"(?i)model_not_found|\b(model|deployment)s?\b")
_NEVER_MENDED_BY_WAITING = ("insufficient_quota", "insufficient balance", "billing_hard_limit_reached")


def clean(text: str, secret: str | None = None) -> str:
    """Return a server's words fit for a terminal and a log: no control characters, no key, not too long."""
    if secret and len(secret) >= 4:  # a shorter one is a placeholder such as "none"; words must stay readable
        text = text.replace(secret, "***")
    text = _CONTROL.sub(" ", text)
    for pattern in (_KEY, _NAMED_KEY, _SAID_KEY):
        text = pattern.sub(r"\1***", text)
    text = text.strip()
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"


def translate(
    error: Exception,
    *,
    model: str,
    model_id: str,
    endpoint: str,
    secret: str | None = None,
    key_variable: str | None = None,
    address: str | None = None,
) -> AttemptFailed:
    """Return what one failed attempt means, with `error` (or a redacted copy) as its cause.

    Args:
        error: What the SDK raised.
        model: Card name of the model.
        model_id: What the endpoint calls it.
        endpoint: Address, without secrets.
        secret: The key that was sent; `None` where none was.
        key_variable: The environment variable that the key is looked for in; `None` where it is not known.
        address: Where the request went, where that is not the endpoint's chat completions.
    """
    status = getattr(error, "status_code", None)
    said = clean(_words(error), secret)
    if not _was_answered(error, status):
        failure = _of_silence(error, said, endpoint)
    elif status in {401, 403}:
        hint = _key_hint(status, secret is not None, key_variable)
        failure = AttemptFailed(AuthenticationError(f"{endpoint}: HTTP {status}: {said}\n{hint}"), "final")
    elif status == 404:
        hint = _not_served_hint(said, model, model_id, endpoint, address)
        failure = AttemptFailed(NotServedError(f"{endpoint}: HTTP 404: {said}\n{hint}"), "final")
    else:
        failure = _of_status(status, error, said, endpoint)
    failure.error.model = model
    failure.error.endpoint = endpoint
    leaks = secret is not None and len(secret) >= 4 and secret in f"{error} {error!r}"
    failure.__cause__ = RuntimeError(f"{type(error).__name__}: {said}") if leaks else error
    failure.error.__cause__ = failure.__cause__
    return failure


def _was_answered(error: Exception, status: Any) -> bool:
    # litellm makes up a status code for what never was answered; the chain of causes knows.
    names = {cls.__name__ for cause in _chain(error) for cls in type(cause).__mro__}
    return isinstance(status, int) and not names & {"APIConnectionError", "APITimeoutError"}


def _key_hint(status: int, was_sent: bool, variable: str | None) -> str:
    if not was_sent:
        return (
            f"no key was sent: set {variable or 'the variable of the provider'}, or api_key_env on the card"
        )
    whose = f"the key of {variable}" if variable else "the key"
    return f"{whose} was refused" if status == 401 else f"{whose} may not be used for this"


def _not_served_hint(said: str, model: str, model_id: str, endpoint: str, address: str | None) -> str:
    """Tell an unknown model from an unknown address: servers answer both with 404."""
    is_address = "://" in endpoint  # else litellm knows where to go
    if not is_address or (_NAMES_A_MODEL.search(said) and "<" not in said):  # HTML is no such answer
        return f"the endpoint has no model {model_id!r}: mend model_id of the card {model}"
    if address is not None and address.endswith("/embeddings"):
        return f"nothing is served at {address}: mend base_url of the card {model}; does it lack /v1?"
    if address is not None:
        return (
            f"nothing is served at {address}: mend base_url or reward.path of the card {model} "
            "(vLLM serves /pooling and /classify beside /v1, not below it)"
        )
    return f"the endpoint has no chat completions at {endpoint}/chat/completions; does base_url lack /v1?"


def _of_status(status: Any, error: Exception, said: str, endpoint: str) -> AttemptFailed:
    said = f"{endpoint}: HTTP {status}: {said}"
    if status == 402 or any(word in said.lower() for word in _NEVER_MENDED_BY_WAITING):
        return AttemptFailed(EndpointDownError(f"{said}\nThe account has nothing left to spend"), "final")
    # litellm keeps the server's headers apart from the response that it makes up.
    headers = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    wait_s = retry_after_s(headers)
    if status == 429:
        return AttemptFailed(RateLimitedError(said), "rate_limit", wait_s)
    if status >= 500 or status in {408, 409, 425}:
        return AttemptFailed(ProviderUnavailableError(said), "unavailable", wait_s)
    if status >= 400:
        return AttemptFailed(RequestRefusedError(said), "final")
    return AttemptFailed(ProviderUnavailableError(said), "malformed")


def _of_silence(error: Exception, said: str, endpoint: str) -> AttemptFailed:
    chain = list(_chain(error))
    causes = {cls.__name__ for cause in chain for cls in type(cause).__mro__}
    root = next((str(cause) for cause in reversed(chain) if str(cause)), said)
    # The aiohttp transport reports a refused connection as a timeout while connecting, so the chain is asked.
    if causes & _NO_CONNECTION or _REFUSED.search(root):
        return AttemptFailed(
            ProviderUnavailableError(f"{endpoint}: no connection: {clean(root)}"), "no_connection"
        )
    if causes & _CLOSED:  # the same transport calls this a timeout, too
        return AttemptFailed(
            ProviderUnavailableError(f"{endpoint}: the connection was closed before a reply: {clean(root)}"),
            "unavailable",
        )
    if causes & {"TimeoutError", "TimeoutException", "APITimeoutError", "Timeout"}:
        return AttemptFailed(ProviderUnavailableError(f"{endpoint}: no reply in time: {said}"), "timeout")
    return AttemptFailed(
        ProviderUnavailableError(f"{endpoint}: {type(error).__name__}: {said}"), "unavailable"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _words(error: Exception) -> str:
    """Return the server's own message where there is one."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        if isinstance(message, str) and message:
            code = inner.get("code") if isinstance(inner, dict) else None
            return f"{message} [{code}]" if isinstance(code, str) and code not in message else message
    return str(error) or type(error).__name__
