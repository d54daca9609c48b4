"""Where a comparison is kept, and the check that nothing unlike is mixed in it.

OUT/comparison.json              what was asked
OUT/draws.sqlite                 shared draws and what was really paid (where no other store is named)
OUT/<allocator>/seed-<n>/        one study each, as `agenttts optimize` keeps them
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Unit
from agenttts.errors import RunError
from agenttts.store.sql import same_store, without_password
from agenttts.study.contenders import folder_name
from agenttts.study.result import StudyOptions

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.task.task import Task

__all__ = ["ComparisonFolder", "default_name", "open_comparison", "spend_unit"]

FORMAT = 1
COMPARISON_FILE = "comparison.json"
ANOTHER = "another folder (--out; in Python `out`)"
OF_ONE = {"allocator", "seed", "concurrency", "switches"}
"""Options that may differ between the studies of a comparison."""
OF_PLANNERS = {"planner", "planner_budget", "planner_prompts", "planner_deadline_s"}
"""Options of those studies only whose allocator asks a planner."""


@dataclass(frozen=True)
class ComparisonFolder:
    """Where a comparison is kept, and what was asked of all its studies alike."""

    path: Path
    task: Task
    options: Mapping[str, StudyOptions]
    """Of the studies of each allocator by its name with switches (see `contenders`), but for `seed`; alike but for
    switches and what concerns planners."""
    store_url: str
    """Of the shared draws."""
    payer: str
    """What the draws that were really bought are billed to there."""

    @property
    def unit(self) -> Unit:
        """What spend is told in."""
        return spend_unit(self.options)

    @property
    def planner(self) -> ModelCard | None:
        """The model that some of the allocators ask."""
        return next((options.planner for options in self.options.values() if options.planner), None)

    def study(self, allocator: str, seed: int) -> Path:
        """Return the folder of one study."""
        return self.path / folder_name(allocator) / f"seed-{seed}"


def spend_unit(options: Mapping[str, StudyOptions]) -> Unit:
    """Return what spend is told in: `paper` counts stages of one problem and cannot add up, GFLOPs stand in."""
    unit = next(iter(options.values())).budget.unit
    return Unit.GFLOPS if unit is Unit.PAPER else unit


def default_name(task: Task, options: Mapping[str, StudyOptions], kind: str = "compare") -> str:
    """Return the name of a comparison: of what all its studies have in common, so that more can be added later."""
    digest = hashlib.sha256(
        json.dumps([task.digest, _common(options)[0]], sort_keys=True).encode()
    ).hexdigest()
    return f"{kind}-{task.file.name}-{digest[:8]}"


def _common(options: Mapping[str, StudyOptions]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return, as plain data, what all studies have in common, and what those that ask a planner do."""
    every = {name: json.loads(json.dumps(each.to_json())) for name, each in sorted(options.items())}
    first = next(iter(every.values()))
    asking = next((data for name, data in every.items() if options[name].planner is not None), None)
    return (
        {key: first[key] for key in sorted(first) if key not in OF_ONE | OF_PLANNERS},
        # Of the planner its name: limits and prices on its card may change.
        None
        if asking is None
        else {key: asking[key] for key in sorted(OF_PLANNERS)} | {"planner": asking["planner"]["name"]},
    )


def open_comparison(
    path: Path, task: Task, options: Mapping[str, StudyOptions], store_url: str | None = None
) -> ComparisonFolder:
    """Begin a comparison in a folder, or open the one that is there.

    Args:
        path: The folder; made if it is missing.
        task: What to search for.
        options: Of the studies of each allocator; seeds are given when they run.
        store_url: Where shared draws are kept; `None`: in the folder, or where they have been kept before.

    Raises:
        RunError: The folder holds a comparison of something else, or cannot be written.
    """
    file = path / COMPARISON_FILE
    common, planning = _common(options)
    asked = {"task_digest": task.digest, "options": common}
    try:
        if not file.exists():
            path.mkdir(parents=True, exist_ok=True)
            url = store_url or f"sqlite:///{(path / 'draws.sqlite').absolute()}"
            kept = without_password(url)
            begun = {"format": FORMAT, "id": f"comparison-{uuid.uuid4().hex}", "store": kept, **asked}
            _write_whole(file, {**begun, "planning": planning})
        found = json.loads(file.read_text())
        _check_same(file, found, {**asked, "planning": planning}, store_url)
        if planning is not None and found["planning"] is None:
            _write_whole(file, {**found, "planning": planning})
    except OSError as error:
        raise RunError(f"the folder {path} of the comparison cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{file}: not JSON: {error}") from error
    return ComparisonFolder(path, task, options, store_url or found["store"], found["id"])


def _write_whole(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is there whole or not at all."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=2))
    part.replace(file)


def _check_same(
    file: Path, found: Mapping[str, Any], asked: Mapping[str, Any], store_url: str | None
) -> None:
    """Refuse to mix studies that were asked different things.

    Raises:
        RunError: Names what differs.
    """
    if not isinstance(found.get("format"), int) or found["format"] > FORMAT:
        raise RunError(f"{file}: written by a newer agenttts. Update agenttts, or choose {ANOTHER}")
    begun = f"{file.parent} was begun with"
    if found["task_digest"] != asked["task_digest"]:
        raise RunError(f"{begun} another task, or other models, problems or functions. Choose {ANOTHER}")
    was, now = ({**data["options"], **(data["planning"] or {})} for data in (found, asked))
    for key in now.keys() & was.keys():  # older files lack options that came later
        if was[key] != now[key]:
            raise RunError(f"{begun} {key} {was[key]}, not {now[key]}. Choose {ANOTHER}")
    if store_url is not None and not same_store(found["store"], store_url):
        raise RunError(f"{begun} another store. Choose {ANOTHER}")
