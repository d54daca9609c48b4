"""One thread for linear algebra while a tiny model works.

Its matrices are so small that further threads of the BLAS library mostly wait, and they wait by spinning: measured on
two cores, five times the processor time and no gain. The limit holds for the process while any tiny model works, and
is lifted when the last one is done. It is set on the libraries that are loaded when a tiny model first works: that of
numpy, the only one it uses. Libraries that come later, such as scipy's own, keep their threads.
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
            _take_over()
            _limit = _controller().limit(limits=1, user_api="blas")


def _leave() -> None:
    global _at_work
    with _guard:
        _at_work -= 1
        if _at_work == 0:
            _take_over()
            _limit.restore_original_limits()
            _take_over()


def _take_over() -> None:
    """Let the calling thread set the number of threads; leave nobody in charge once it has.

    From 3.8 on threadpoolctl obeys, without a word, only the thread that set a number first. Here the last one to
    leave is often another one than the first to enter; `_guard` sees to it that they never do so at once.
    """
    for library in _controller().lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)


@cache
def _controller() -> Any:
    """Find the BLAS libraries that are loaded; numpy's is by now."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
