"""Every other provider, through litellm; also the one place where litellm is imported.

litellm is slow to import, fetches prices from the network while it does, and talks; all three are switched off here.
Where a provider reports no usage, litellm may fill in an estimate of its own that cannot be told from a report.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import AuthenticationError
from agenttts.models.failures import translate
from agenttts.models.openai_client import NO_KEY, without_secrets
from agenttts.models.retry import AttemptFailed

__all__ = ["LiteLLMTransport", "quiet_litellm"]


@lru_cache(maxsize=1)
def quiet_litellm() -> Any:
    """Return the litellm module, imported offline and silent."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


PREPARED_EVERY_S = 0.002
"""Seconds between looks at a call that is being prepared; it takes about 10 ms."""


class LiteLLMTransport:
    """Calls of one card through litellm, which keeps connections of its own."""

    length_field = "max_tokens"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._litellm = quiet_litellm()
        self._endpoint = without_secrets(card.base_url) if card.base_url else f"litellm ({card.served_as})"
        self._options = self._fixed_options()

    def _fixed_options(self) -> dict[str, Any]:
        card = self._card
        options: dict[str, Any] = {
            "max_retries": 0,
            "num_retries": 0,
            "drop_params": True,  # e.g. `seed`, where the provider has none
            "timeout": card.timeout_s,
        }
        if card.base_url:
            options["api_base"] = card.base_url
        key = os.environ.get(card.api_key_env, "").strip() if card.api_key_env else ""
        missing = [] if key else self._missing_variables()
        if missing and not card.base_url:
            raise AuthenticationError(
                f"model {card.name} needs a key and the environment lacks {', '.join(missing)}",
                endpoint=self._endpoint,
                model=card.name,
                n_attempts=0,
            )
        if key or missing:
            options["api_key"] = key or NO_KEY
        self._key: str | None = options.get("api_key")
        """`None` where litellm finds one by itself."""
        self._key_variable = card.api_key_env or (missing[0] if missing else None)
        return options

    def _missing_variables(self) -> list[str]:
        if self._card.api_key_env:
            return [self._card.api_key_env]
        found = self._litellm.validate_environment(self._card.served_as)
        return [] if found["keys_in_environment"] else [str(name) for name in found["missing_keys"]]

    async def send(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Return the reply as plain data; see `Transport.send`."""
        call = asyncio.ensure_future(self._litellm.acompletion(**body, **self._options))
        try:
            return _plain(await asyncio.shield(call))
        finally:
            await _ended(call)

    def failed(self, error: Exception) -> AttemptFailed:
        """Return what an error of `send` means."""
        return translate(
            error,
            model=self._card.name,
            model_id=self._card.served_as,
            endpoint=self._endpoint,
            secret=None if self._key == NO_KEY else self._key or "",
            key_variable=self._key_variable,
        )

    async def aclose(self) -> None:
        """Nothing: litellm shares its connections between all callers of the process."""


async def _ended(call: asyncio.Future[Any]) -> None:
    """Cancel a call that is still under way, but not before litellm has prepared it.

    It prepares a call in a worker thread, which hands back a coroutine; cancelled meanwhile, it drops that coroutine,
    and Python complains of one that was never awaited.
    """
    try:
        while not call.done() and _is_prepared_in_thread(call):  # noqa: ASYNC110 - litellm tells nobody when it is
            await asyncio.sleep(PREPARED_EVERY_S)
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # looked at, so that Python does not complain of one that nobody saw


def _is_prepared_in_thread(call: asyncio.Future[Any]) -> bool:
    """Return whether the innermost coroutine is litellm's own entry: then it waits for its thread, not for a provider."""
    coroutine = call.get_coro() if isinstance(call, asyncio.Task) else None
    while inspect.iscoroutine(coroutine) and inspect.iscoroutine(coroutine.cr_await):
        coroutine = coroutine.cr_await
    return inspect.iscoroutine(coroutine) and coroutine.__qualname__ == "acompletion"


def _plain(response: Any) -> dict[str, Any]:
    """Return the fields that are read, without the cost of dumping the whole object."""
    usage = getattr(response, "usage", None)
    choices = getattr(response, "choices", None)
    return {
        "choices": [_choice(choice) for choice in choices] if isinstance(choices, list) else None,
        "usage": None if usage is None else _usage(usage),
    }


def _choice(choice: Any) -> dict[str, Any]:
    message = getattr(choice, "message", None)
    fields = ("content", "refusal", "reasoning_content")
    logprobs: Any = getattr(choice, "logprobs", None)
    # What the protocol lacks: tokens of each choice, and what stopped it (vLLM).
    more = getattr(choice, "provider_specific_fields", None) or {}
    stop_reason = {"stop_reason": more["stop_reason"]} if "stop_reason" in more else {}
    return {
        "index": getattr(choice, "index", None),
        "finish_reason": getattr(choice, "finish_reason", None),
        "message": {name: getattr(message, name, None) for name in fields},
        "usage": getattr(choice, "usage", None) or more.get("usage"),
        **stop_reason,
        "logprobs": logprobs.model_dump() if hasattr(logprobs, "model_dump") else logprobs,
    }


def _usage(usage: Any) -> dict[str, Any]:
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    return {
        "prompt_tokens": getattr(usage, "prompt_tokens", None),
        "completion_tokens": getattr(usage, "completion_tokens", None),
        "prompt_tokens_details": {"cached_tokens": getattr(prompt, "cached_tokens", None)},
        "completion_tokens_details": {"reasoning_tokens": getattr(completion, "reasoning_tokens", None)},
    }
