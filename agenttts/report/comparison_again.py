"""A comparison's page made again from its folder alone.

OUT/page.json    what the page was made of beside the logs: names in their order, seeds, target, failures, true scores

Folders of versions that wrote no such file are read by their logs: all studies in them, target 0.01, no true scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import RunError
from agenttts.pipeline.base import Allocation
from agenttts.study.comparison_folder import COMPARISON_FILE, ComparisonFolder
from agenttts.study.comparison_workers import WorkerReport
from agenttts.study.contenders import contender_name
from agenttts.study.events import EVENTS_FILE, fold, read_events
from agenttts.study.result import StudyOptions
from agenttts.task.task import Task

if TYPE_CHECKING:
    from agenttts.study.comparison_truth import Truth

__all__ = ["ASKED_FILE", "Asked", "asked_of", "folder_again", "keep_asked"]

FORMAT = 1
ASKED_FILE = "page.json"


@dataclass(frozen=True)
class Asked:
    """What a comparison's page shows, beside what the logs of its studies tell."""

    allocators: Sequence[str]
    seeds: Sequence[int]
    target: float = 0.01
    failed: Mapping[tuple[str, int], WorkerReport] = field(default_factory=dict)
    truth: Truth | None = None


def keep_asked(folder: Path, asked: Asked) -> None:
    """Write it down.

    Raises:
        RunError: It cannot be written.
    """
    truth = None
    if asked.truth is not None:
        truth = [[allocation.to_json(), score] for allocation, score in asked.truth.items()]
    data = {
        "format": FORMAT,
        "allocators": list(asked.allocators),
        "seeds": list(asked.seeds),
        "target": asked.target,
        "failed": [asdict(report) for report in asked.failed.values()],
        "truth": truth,
    }
    path = folder / ASKED_FILE
    try:
        path.write_text(json.dumps(data), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


def asked_of(folder: ComparisonFolder) -> Asked:
    """Return what was written down; where nothing was, all studies that the folder holds.

    Raises:
        RunError: The file cannot be read, or is of a newer agenttts.
    """
    path = folder.path / ASKED_FILE
    if not path.exists():
        seeds = {int(log.parent.name.removeprefix("seed-")) for log in _logs(folder.path)}
        return Asked(sorted(folder.options), sorted(seeds))
    data = _read(path)
    failed = [WorkerReport(**report) for report in data["failed"]]
    rows = data["truth"]
    truth = None if rows is None else {Allocation.from_json(one).canonical(): score for one, score in rows}
    return Asked(
        allocators=data["allocators"],
        seeds=data["seeds"],
        target=data["target"],
        failed={(report.allocator, report.seed): report for report in failed},
        truth=truth,
    )


def folder_again(path: Path, *, trust: bool = False) -> ComparisonFolder:
    """Return the folder of a comparison as its files tell.

    Raises:
        RunError: It holds no study, or a file in it cannot be read.
    """
    kept = _read(path / COMPARISON_FILE)
    states = [fold(read_events(log)[0]) for log in _logs(path)]
    if not states:
        raise RunError(f"{path}: no study of this comparison has begun")
    options = [StudyOptions.from_json(state.options) for state in states]
    return ComparisonFolder(
        path,
        Task.from_json(states[0].started["task"], trust=trust),
        {contender_name(one.allocator, one.switches): one for one in options},
        kept["store"],
        kept["id"],
    )


def _logs(path: Path) -> list[Path]:
    return sorted(path.glob(f"*/seed-*/{EVENTS_FILE}"))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("format"), int) or data["format"] > FORMAT:
        raise RunError(f"{path}: written by a newer agenttts. Update agenttts")
    return data
