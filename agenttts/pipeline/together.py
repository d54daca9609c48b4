"""Several coroutines at once, of which the first failure ends all: nothing goes on spending behind an error."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from agenttts.errors import InputError

__all__ = ["first_error", "run_now", "together"]

T = TypeVar("T")


async def together(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order. The first error cancels the others and is raised by itself, not in a group."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors.__cause__
    return [task.result() for task in tasks]


def run_now(work: Coroutine[Any, Any, T], *, instead: str) -> T:
    """Run a coroutine from synchronous code.

    Args:
        work: The coroutine.
        instead: What to write where an event loop is running already, e.g. `await plan.aanswer(...)`.

    Raises:
        InputError: There is a running event loop (a notebook, an async program).
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise InputError(f"an event loop is running already: use `{instead}` here")


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of a group that matters most: one that stops the run, else the first."""
    found: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending = [*error.exceptions, *pending]
        else:
            found.append(error)
    return next((error for error in found if getattr(error, "stops_run", False)), found[0])
