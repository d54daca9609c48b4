"""What the stages of a new task ask for, by their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agenttts.errors import InputError

__all__ = ["STAGES", "check_stages", "instruction"]

STAGES: Mapping[str, str] = {
    "plan": "Write a short plan for how to answer this. Do not answer it yet.",
    "analyse": "Name what is asked for here, what is known and what is easily got wrong. Do not answer it yet.",
    "draft": "Answer this as well as you can.",
    "solve": "Solve this.",
    "check": "Check what was written before, mend what is wrong, and give the final answer.",
    "translate": "Say in a short and exact form what is asked for here. Do not answer it yet.",
    "extract": "List the facts that are needed to answer this, and nothing else.",
    "summarise": "Summarise what is needed to answer this. Do not answer it yet.",
    "answer": "Answer this.",
}
"""What a stage of that name does, in words to a model."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def check_stages(names: Sequence[str]) -> None:
    """Raise InputError for names that no task may have."""
    if not names:
        raise InputError("--stages: expected at least one name, e.g. solve or plan,solve")
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"--stages: {name!r} is no name of a stage. Use letters, digits and _, beginning with a letter."
            )
        if names.count(name) > 1:
            raise InputError(f"--stages: {name} stands twice")


def instruction(name: str, *, is_last: bool) -> str:
    """Return what a stage is asked to do; of one whose name says nothing here, the step of that name."""
    known = STAGES.get(name.casefold())
    if known is not None:
        return known
    words = name.replace("_", " ")
    return f"Do the step '{words}'" + (
        " and give the final answer." if is_last else " only. Do not answer yet."
    )
