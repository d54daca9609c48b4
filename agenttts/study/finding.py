"""From what a user calls a run to its folder."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from agenttts.errors import RunError
from agenttts.study.events import EVENTS_FILE
from agenttts.study.opening import run_folder
from agenttts.study.study import RUNS

__all__ = ["find_run"]


def find_run(run: str | Path) -> Path:
    """Return the folder of a run: a path, or a name under `runs/`.

    Raises:
        RunError: There is none; the nearest name is told.
    """
    for folder in (Path(run), run_folder(run)):
        if (folder / EVENTS_FILE).is_file():
            return folder
    logs = {log.parent for parent in (RUNS, Path(run).parent) for log in parent.glob(f"*/{EVENTS_FILE}")}
    names = {folder.name: folder for folder in sorted(logs)}
    close = get_close_matches(Path(run).name, names, n=1)
    hint = f"Did you mean `{names[close[0]]}`?" if close else "`agenttts runs` lists what there is."
    raise RunError(f"{run}: there is no such run.\n{hint}")
