"""The test step of the paper's protocol: what the searches found, scored on the sealed problems once all have ended.

Each distinct allocation is scored once, however many searches found it, with draws from the store that the searches
shared. What was scored is kept in `tests/` beside the searches, a file per allocation; a step that was cut off goes on
with the rest, and pays for no draw twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import RunError
from agenttts.pipeline.base import Allocation
from agenttts.study.confirm import evaluation_to_json
from agenttts.study.evaluate import evaluate
from agenttts.study.scoring import drawing

if TYPE_CHECKING:
    from agenttts.pipeline.base import Problem
    from agenttts.study.comparison_folder import ComparisonFolder
    from agenttts.study.comparison_runs import RunOutcome

__all__ = ["TestScore", "run_tests", "to_test", "untested", "winners"]

FORMAT = 1
FOLDER = "tests"


@dataclass(frozen=True)
class TestScore:
    """One allocation on the test problems."""

    __test__ = False  # no class of tests, whatever its name looks like

    allocation: Allocation
    scores: Mapping[str, float]
    """By problem; empty where so many failed that the rest says nothing."""
    n_failed: int
    charged: float
    """Mean cost of a problem in the unit of the budget."""


def winners(runs: Iterable[RunOutcome]) -> tuple[Allocation, ...]:
    """Return the distinct allocations that searches found, in the order of the searches."""
    found = (run.plan.canonical() for run in runs if run.has_result and run.plan is not None)
    return tuple(dict.fromkeys(found))


def untested(folder: ComparisonFolder, runs: Iterable[RunOutcome], n: int) -> list[Allocation]:
    """Return what searches found that has no score on `n` test problems yet; the test split stays sealed."""
    scored = {one: _kept(_path(folder, one)) for one in winners(runs)}
    wanted = n if folder.task.n_test is None else min(n, folder.task.n_test)
    return [one for one, data in scored.items() if data is None or data["n_problems"] != wanted]


def to_test(folder: ComparisonFolder, n: int) -> tuple[Problem, ...]:
    """Unseal and return the first `n` test problems, which are a random sample of all, or all where they are fewer.

    Raises:
        DataError: The data cannot be read or have changed.
    """
    return folder.task.test()[:n]


async def run_tests(
    folder: ComparisonFolder,
    allocations: Sequence[Allocation],
    problems: Sequence[Problem],
    *,
    concurrency: int,
    report: Callable[[Allocation, int], None] = lambda allocation, place: None,
) -> dict[Allocation, TestScore]:
    """Score allocations that have not been scored on these problems yet; return the scores of all.

    Args:
        folder: Of the searches.
        allocations: Canonical ones, each once.
        problems: Test problems.
        concurrency: Problems worked on at a time.
        report: Told of each allocation before it is scored, with its place among `allocations`.

    Raises:
        ProviderError: A model's endpoint is down or refuses the key; the same call goes on.
        RunError: A file cannot be read or written.
    """
    identity = _identity(folder, problems)
    budget = next(iter(folder.options.values())).budget
    known = {one: _read(folder, one, identity) for one in allocations}
    async with drawing(folder.task, folder.store_url, folder.payer) as (clients, sampler, cost_model, _):
        for place, allocation in enumerate(allocations):
            if known[allocation] is not None:
                continue
            report(allocation, place)
            evaluation = await evaluate(
                folder.task,
                allocation,
                problems,
                clients=clients,
                sampler=sampler,
                cost_model=cost_model,
                concurrency=concurrency,
            )
            data = evaluation_to_json(evaluation, budget)
            told = {"format": FORMAT, "problems": identity, "n_problems": len(problems)}
            _write(folder, allocation, {**told, **data})
            known[allocation] = data
    return {allocation: _score(allocation, data) for allocation, data in known.items() if data is not None}


def _identity(folder: ComparisonFolder, problems: Sequence[Problem]) -> str:
    told = json.dumps([folder.task.digest, [problem.id for problem in problems]])
    return hashlib.sha256(told.encode()).hexdigest()


def _path(folder: ComparisonFolder, allocation: Allocation) -> Path:
    told = json.dumps(allocation.to_json(), sort_keys=True)
    return folder.path / FOLDER / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"


def _read(folder: ComparisonFolder, allocation: Allocation, identity: str) -> Mapping[str, Any] | None:
    """Return what is kept of an allocation on these very problems; `None` where it is to be scored (again)."""
    data = _kept(_path(folder, allocation))
    return data if data is not None and data["problems"] == identity else None


def _kept(path: Path) -> Mapping[str, Any] | None:
    try:
        data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] > FORMAT:
            raise RunError(f"{path}: written by a newer agenttts. Update agenttts")
        # Too many failures may be over by now: what has no score is tried again.
        return None if data["invalid"] else data
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error}. Remove it to have it scored again") from error


def _write(folder: ComparisonFolder, allocation: Allocation, data: Mapping[str, Any]) -> None:
    path = _path(folder, allocation)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # there whole or not at all
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


def _score(allocation: Allocation, data: Mapping[str, Any]) -> TestScore:
    scores = {} if data["invalid"] else dict(data["scores"])
    return TestScore(allocation, scores, len(data["failures"]), float(data["charged"]))
