"""Which Python code of its own a task names, and digests of it: results by other code are other results.

Nothing here runs or imports that code. What the code itself imports has no part in the digests.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.task.naming import verifier_blocks

if TYPE_CHECKING:
    from agenttts.task.schema import TaskFile

__all__ = ["code_digest", "code_digests"]


def code_digests(file: TaskFile, folder: Path) -> dict[str, str | None]:
    """Return a digest for every file or module that functions of a task come from.

    Args:
        file: The task.
        folder: Where `file.py:name` counts from.
    """
    origins = sorted({reference.rpartition(":")[0] for reference in _functions(file)})
    return {origin: code_digest(origin, folder) for origin in origins}


def code_digest(origin: str, folder: Path) -> str | None:
    """Return the SHA-256 of the file behind `file.py` or `module`; `None` where there is no such file.

    A module that is built into Python has none.
    """
    path = folder / origin if origin.endswith(".py") else _file_of_module(origin)
    if path is None or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _functions(file: TaskFile) -> Iterator[str]:
    for source in (file.data, file.splits.search.data, file.splits.test.data):
        for made in source.fields.values() if source is not None else ():
            if made.parse is not None and made.parse.function is not None:
                yield made.parse.function
    for stage in file.stages.values():
        if stage.function is not None:
            yield stage.function
        if stage.parse.function is not None:
            yield stage.parse.function
    for _, verifier in verifier_blocks(file):
        if verifier.function is not None:
            yield verifier.function


def _file_of_module(name: str) -> Path | None:
    spec = _spec(name)
    return None if spec is None or not spec.has_location or spec.origin is None else Path(spec.origin)


def _spec(name: str) -> ModuleSpec | None:
    """Find a module; unlike `find_spec` alone, without importing the packages that it lies in."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module of this name is loaded and does not say where it came from
        return None
    for depth in range(1, len(rest) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([top, *rest[:depth]]), list(spec.submodule_search_locations))
    return spec
