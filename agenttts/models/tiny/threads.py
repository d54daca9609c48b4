"""One thread for linear algebra while a tiny model works.

Its matrices are so small that further threads of the BLAS library mostly wait, and they wait by spinning: measured on
two cores, five times the processor time and no gain. The limit holds for the process while any tiny model works, and
is lifted when the last one is done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["one_thread"]

_guard = threading.Lock()
_at_work = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread; calls may overlap, also between threads."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _at_work, _limit  # the limit is a property of the process
    with _guard:
        _at_work += 1
        if _at_work == 1:
            _limit = _controller().limit(limits=1, user_api="blas")


def _leave() -> None:
    global _at_work
    with _guard:
        _at_work -= 1
        if _at_work == 0:
            _limit.restore_original_limits()


@cache
def _controller() -> Any:
    """Find the BLAS libraries that are loaded; numpy's is by now."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
