"""`agenttts serve-models`: the tiny family as an OpenAI-compatible endpoint."""

from __future__ import annotations

import os

from agenttts._cli.console import say_aside
from agenttts.errors import InputError

__all__ = ["run_serve_models"]


def run_serve_models(*, host: str, port: int, api_key_env: str | None) -> None:
    """Serve until Ctrl-C."""
    from agenttts.models.tiny_server import check_address, listen, serve_on, served_models

    api_key = _key(api_key_env)
    check_address(host, api_key)
    shown = f"[{host}]" if ":" in host else host
    with listen(host, port) as listener:
        say_aside(f"Serving {', '.join(served_models())} at http://{shown}:{port}/v1 (Ctrl-C ends it).")
        say_aside(f"Try it: agenttts optimize tiny --endpoint http://{shown}:{port}/v1")
        serve_on(listener, api_key=api_key)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise InputError(f"--api-key-env: the environment variable {variable} is not set or empty")
    return key
