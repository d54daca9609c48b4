"""One JSON object a line on standard error, for what an operator must know: start, end, failures. No prompts, no keys."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from agenttts.models.failures import clean

__all__ = ["Log"]


class Log:
    """Writes events.

    Args:
        stream: Where to; `None`: standard error.
        requests: Whether every answered request gets a line too.
    """

    def __init__(self, stream: TextIO | None = None, *, requests: bool = False) -> None:
        self._stream = stream
        self._requests = requests

    def event(self, event: str, **fields: Any) -> None:
        """Write a line; texts are cleaned of control characters and of what looks like a key."""
        shown = {name: clean(value) if isinstance(value, str) else value for name, value in fields.items()}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": moment, "event": event, **shown}, default=str)
        print(line, file=self._stream or sys.stderr, flush=True)

    def answered(self, **fields: Any) -> None:
        """Write a line for an answered request, where they are wanted."""
        if self._requests:
            self.event("answered", **fields)
