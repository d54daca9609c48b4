"""Where names are looked up: a path first, then the user's project (the working folder), then the catalogue.

The catalogue is the folders `tasks`, `budgets` and `verifiers`: in a wheel they lie in `agenttts/catalogue_files`, in a
checkout beside the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agenttts.errors import Mistake, TaskFileError
from agenttts.task.reading import missing_file, nearest, read_document, shown

__all__ = [
    "ListedTask",
    "card_files",
    "catalogue_folder",
    "list_tasks",
    "resolve_task",
    "task_names",
    "verifier_card_files",
]

TASK_FILE = "task.yaml"


@dataclass(frozen=True)
class ListedTask:
    """A task that can be called by its name."""

    name: str
    path: Path
    description: str
    """First line of the task's description; why it cannot be read, where it cannot."""


def catalogue_folder() -> Path:
    """Return the folder that holds `tasks`, `budgets` and `verifiers`."""
    package = Path(__file__).resolve().parent
    inside = package / "catalogue_files"
    return inside if inside.is_dir() else package.parent


def _roots() -> list[Path]:
    """Return the user's project and the catalogue, once each."""
    return list(dict.fromkeys((Path.cwd().resolve(), catalogue_folder())))


def resolve_task(name: str | Path) -> Path:
    """Return the task file that a path or a name means.

    Raises:
        TaskFileError: There is none; the nearest name is told.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if (path / TASK_FILE).is_file():
        return path / TASK_FILE
    if len(path.parts) == 1 and path.suffix not in {".yaml", ".yml"}:
        for root in _roots():
            if (root / "tasks" / path / TASK_FILE).is_file():
                return root / "tasks" / path / TASK_FILE
        known = [task.parent.name for task in _task_files()]
        raise TaskFileError(
            [Mistake(str(name), None, "", "no such task.", nearest(str(name), known, listed="Tasks"))]
        )
    missing = path / TASK_FILE if path.is_dir() else path
    raise TaskFileError([Mistake(shown(missing), None, "", "no such file.", missing_file(missing))])


def _task_files() -> Iterator[Path]:
    """Yield the task file of each name; the user's project hides tasks of the catalogue."""
    found: dict[str, Path] = {}
    for root in _roots():
        for path in sorted((root / "tasks").glob(f"*/{TASK_FILE}")):
            found.setdefault(path.parent.name, path)
    yield from found.values()


def list_tasks() -> list[ListedTask]:
    """Return every task that can be called by its name, sorted."""
    tasks = [ListedTask(path.parent.name, path, _description(path)) for path in _task_files()]
    return sorted(tasks, key=lambda task: task.name)


def task_names() -> list[str]:
    """Return the names of all tasks, sorted, without looking into them."""
    return sorted(path.parent.name for path in _task_files())


def _description(path: Path) -> str:
    try:
        text = str(read_document(path).data.get("description", "")).strip()
    except TaskFileError as error:
        return f"cannot be read: {error.mistakes[0].message}"
    return text.splitlines()[0] if text else ""


def card_files() -> list[Path]:
    """Return the files of model cards, the user's before the catalogue's."""
    return [path for root in _roots() for path in sorted((root / "budgets" / "models").glob("*.yaml"))]


def verifier_card_files() -> dict[str, Path]:
    """Return the file of each card of a verifier by its name; the user's project hides cards of the catalogue."""
    found: dict[str, Path] = {}
    for root in _roots():
        for path in sorted((root / "verifiers").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))
