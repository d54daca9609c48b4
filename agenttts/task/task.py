"""A task that has been read and checked: what a study and a plan are made of.

The test split is sealed: `Task.test` is the only door to it, and nothing of it is kept before that door is used.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.catalogue import resolve_task
from agenttts.errors import DataError, InputError, TaskFileError, TrustError
from agenttts.pipeline.base import Problem
from agenttts.task.code import code_digest, code_digests
from agenttts.task.naming import only_scoring
from agenttts.task.schema import DataBlock, TaskFile
from agenttts.task.sources import (
    SplitName,
    find_again,
    id_fields,
    lies_at,
    locate_data,
    read_sources,
    sources_of,
)
from agenttts.task.splits import Parts, divide

__all__ = ["Task", "import_function"]

STORED_FORMAT = 1
_LATER = cast("tuple[Problem, ...]", ("read on first use",))

RESULT_KEYS = (
    "source", "model_id", "base_url", "parameters", "active_parameters", "layers", "width", "shares_prefill",
    "supports_seed", "token_counter",
)  # fmt: skip
"""Keys of a card that change results; prices, keys, limits and deadlines do not."""


@dataclass(frozen=True)
class Task:
    """A task file with its cards and its search problems."""

    file: TaskFile
    """Resolved: prompts stand in it, files of prompts are not needed any more; `models` is empty (see `cards`)."""
    folder: Path
    """Where relative paths count from, absolute."""
    cards: Mapping[str, ModelCard]
    """Cards of the models that stages name and of reward models that select or score."""
    search: tuple[Problem, ...]
    """Problems that the search may see. Of a task from a plan or run they are read on first use."""
    trusted: bool = False
    """The user allows the task's own Python code."""
    card_files: Mapping[str, Path] = field(default_factory=dict)
    """File of each card that does not stand in the task file, for messages."""
    data_sha256: tuple[str | None, str | None] | None = None
    """Digests of the search and the test source as they were when the task was loaded; `None` for one that was not
    read, where data for the other split alone were given."""
    search_digest: str = ""
    """Digest of the ids of the search problems."""
    code_sha256: Mapping[str, str | None] | None = None
    """Digest of each file or module that functions come from, as it was when the task was loaded (see
    `agenttts.task.code`). A task that an earlier version stored has none: empty, its code is not watched over."""
    n_test: int | None = None
    """Problems of the sealed split, counted when the task file was read; `None`: not known, as of a stored task."""
    spare_cards: Mapping[str, ModelCard] = field(default_factory=dict)
    """Cards of the task file that no stage names: a planner may be one of them. Not stored with the task."""
    look_first: tuple[Path, ...] = ()
    """Folders where data files are looked for before `folder`; accepted only with the digest above. Data in place of
    the task's own lie here: the file names no folders, so that where they lie is no part of the digest."""
    look_last: tuple[Path, ...] = ()
    """Folders where they are looked for after it; then the task of this name in the project or the catalogue."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).resolve())
        if self.search is _LATER:
            object.__delattr__(self, "search")
        elif not self.search_digest:
            object.__setattr__(self, "search_digest", _digest([problem.id for problem in self.search]))
        if self.code_sha256 is None:
            object.__setattr__(self, "code_sha256", code_digests(self.file, self.folder))

    @property
    def charged_models(self) -> frozenset[str]:
        """Names of the cards that a problem may be charged for: all but those that only score against gold."""
        return frozenset(self.cards) - only_scoring(self.file)

    if not TYPE_CHECKING:  # else type checkers would take every attribute for granted

        def __getattr__(self, name: str) -> Any:
            """Read the search problems of a stored task."""
            if name != "search":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            search = self._parts().search
            object.__setattr__(self, "search", search)
            return search

    def test(self) -> tuple[Problem, ...]:
        """Unseal and return the test problems, in an order fixed by the seed.

        Raises:
            DataError: The data cannot be read or have changed since the task was loaded.
        """
        if self.data_sha256 is not None and self.data_sha256[1] is None:
            raise DataError(
                "there are no test problems: the task was loaded with data for the search alone.\n"
                "Name data that hold them too with --data (in Python: data=)."
            )
        return self._test

    @cached_property
    def _test(self) -> tuple[Problem, ...]:
        return self._parts().test

    def _parts(self) -> Parts:
        tables = read_sources(self.file.data, self.file.splits, self.folder, self._found, self.function)
        then = self.data_sha256 or (None, None)
        for table, digest in zip(tables, then, strict=True):
            if table is not None and digest not in (None, table.sha256):
                hint = "Results of both would be mixed. Put the old data back, or begin a new run."
                raise DataError(f"{table.name} has changed since this task was loaded.\n{hint}")
        parts, complaints = divide(self.file.splits, *tables, id_fields(self.file.data, self.file.splits))
        # How many problems there are was checked when the task was loaded; other data may have fewer than `n`.
        wrong = [complaint.message for complaint in complaints if not complaint.counts]
        if wrong:
            raise DataError("\n".join(wrong))
        return parts

    def _found(self, source: DataBlock, index: int) -> DataBlock | None:
        if self.data_sha256 is None:
            return source
        digest = self.data_sha256[index]
        if digest is None:
            return None
        return find_again(source, digest, [*self.look_first, self.folder, *self._elsewhere()])

    def _elsewhere(self) -> Iterator[Path]:
        yield from self.look_last
        try:
            yield resolve_task(self.file.name).resolve().parent
        except TaskFileError:  # no task of this name
            return

    def with_data(self, path: str | Path, *, needs: SplitName | None = None) -> Task:
        """Return the task with its data taken from `path`: its own, which lie there now, or others in their place.

        Its own are told by their names and digests. A folder that holds none of these counts as where its own were
        moved too, if one of its files has the right name: what is wrong with it is told when it is read.

        Args:
            path: A file, or a folder; looked up from the working folder first, then beside the task file.
            needs: The only split that is asked for; `None`: both are.

        Raises:
            DataError: There is nothing there, or not what is needed, or it cannot be read.
        """
        given = Path(path).expanduser().resolve()
        own = sources_of(self.file.data, self.file.splits)
        digests = self.data_sha256 or (None, None)
        there = {
            lies_at(given, source, digest)
            for split, source, digest in zip(("search", "test"), own, digests, strict=True)
            if needs in (None, split)
        }
        if "same" not in there or "changed" in there:
            try:
                files = locate_data(path, self.folder, needs)
            except DataError:
                if there == {"not there"}:
                    raise
            else:
                from agenttts.task.problems import replaced  # reads; most tasks keep their data

                return replaced(self, files)
        search = vars(self).get("search", _LATER)  # a plain `replace` would read what is not read yet
        return replace(self, look_first=(given if given.is_dir() else given.parent,), search=search)

    def function(self, reference: str) -> Callable[..., Any]:
        """Return the function that `file.py:name` (beside the task file) or `module:name` names.

        Raises:
            TrustError: The user has not allowed the task's own code.
            InputError: There is no such function, or its module cannot be imported.
        """
        if not self.trusted:
            raise TrustError(
                f"task {self.file.name} names Python code of its own ({reference}).\n"
                "Read it, then allow it with --trust (in Python: trust=True)."
            )
        return import_function(reference, self.folder)

    def changed_code(self) -> list[str]:
        """Return the files and modules with functions of the task that are not what they were when it was loaded."""
        known = self.code_sha256 or {}
        return [origin for origin, then in known.items() if code_digest(origin, self.folder) != then]

    @property
    def llm_stages(self) -> tuple[str, ...]:
        """Names of the stages that call models, in the order of the file."""
        return tuple(name for name, stage in self.file.stages.items() if stage.asks_model)

    @property
    def scored_stage(self) -> str:
        """Name of the stage whose answer gets the final score."""
        return self.file.score.stage or list(self.file.stages)[-1]

    @cached_property
    def digest(self) -> str:
        """Identity of everything that changes results: 64 hexadecimal digits (SHA-256).

        In it are the files of functions that the task names, as they were when it was loaded. Not in it: the budget
        and the planner (options of a study), prices, limits of rate and time, the description, and where files lie.
        """
        cards = {
            name: {key: getattr(card, key) for key in RESULT_KEYS} | _nominal(card) | _reward(card)
            for name, card in sorted(self.cards.items())
        }
        tables = {name: _file_digest(card.table) for name, card in sorted(self.cards.items()) if card.table}
        weights = {name: _weights(card) for name, card in sorted(self.cards.items()) if card.source == "tiny"}
        # Without what stands at its default, so that a key that a later version adds does not make other runs of them.
        file = self.file.model_dump(
            mode="json", exclude={"models", "description", "budget", "planner"}, exclude_defaults=True
        )
        # Only where there is any, so that other tasks keep the digest that earlier versions gave them.
        code = [self.code_sha256] if self.code_sha256 else []
        return _digest([file, cards, tables, weights, self.data_sha256, self.search_digest, *code])

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        trust: bool = False,
        endpoint: str | None = None,
        source: str | None = None,
        n_search: int | None = None,
        unit: Unit | None = None,
        data: str | Path | None = None,
        needs: SplitName | None = None,
    ) -> Task:
        """Read and check a task.

        Args:
            name: Path of a task file or of its folder, or a name of the project or the catalogue.
            trust: Allow the task's own Python code.
            endpoint: OpenAI-compatible base URL that every model of the stages comes from, in place of its card's.
            source: `openai` (the default where an endpoint is given) or `litellm`.
            n_search: In place of `splits.search.n`.
            unit: Of the budget, in place of `budget.unit`; cards must be able to be billed in it.
            data: In place of the task's sources: a file, divided as `splits` say, or a folder with `search.*` and
                `test.*`, of the same columns; looked up from the working folder, then beside the task file. The
                `n` of splits then counts as at most.
            needs: The only split that is asked for, where `data` may lack the other; `None`: both are.

        Raises:
            TaskFileError: The task file, its data or card files hold mistakes; all of them are told.
            DataError: There is nothing at `data`, or not what is needed.
            InputError: `endpoint`, `source` or `n_search` is not usable.
        """
        if n_search is not None and n_search < 1:
            raise InputError(f"n_search: expected a whole number of at least 1, got {n_search}.")
        from agenttts.task.loading import load_task  # imports this module

        return load_task(
            resolve_task(name),
            trust=trust,
            served_by=(endpoint, source),
            n_search=n_search,
            unit=unit,
            data=data,
            needs=needs,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the task as plain data: all that a plan needs to answer; data sets by reference."""
        return {
            "format": STORED_FORMAT,
            "file": _written_out(self.file),
            "folder": str(self.folder),
            "cards": {
                name: card.model_dump(mode="json", exclude_none=True) for name, card in self.cards.items()
            },
            "card_files": {name: str(path) for name, path in self.card_files.items()},
            "data_sha256": list(self.data_sha256) if self.data_sha256 else None,
            "search_digest": self.search_digest,
            # Earlier versions refuse keys that they do not know: most tasks stay readable for them.
            **({"code_sha256": self.code_sha256} if self.code_sha256 else {}),
            **({"data_folder": str(self.look_first[0])} if self.look_first else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, trust: bool = False, beside: Path | None = None) -> Task:
        """Read what `to_json` wrote. Search problems are read on first use, so a plan answers without the data.

        Args:
            data: The stored task.
            trust: Allow the task's own Python code.
            beside: Folder of the file that the task is stored in; its data may lie there too.

        Raises:
            InputError: Not a stored task, or one of a newer version.
        """
        if data.get("format", 0) > STORED_FORMAT:
            raise InputError(
                f"the stored task has format {data['format']}; this version reads 1.\nUpgrade agenttts."
            )
        try:
            sha256 = data["data_sha256"]
            return cls(
                file=TaskFile.model_validate(data["file"]),
                folder=Path(data["folder"]),
                cards={name: ModelCard.model_validate(card) for name, card in data["cards"].items()},
                search=_LATER,
                trusted=trust,
                card_files={name: Path(path) for name, path in data.get("card_files", {}).items()},
                data_sha256=(sha256[0], sha256[1]) if sha256 else None,
                search_digest=data["search_digest"],
                code_sha256=data.get("code_sha256") or {},  # older files lack it
                look_first=(Path(data["data_folder"]),) if "data_folder" in data else (),
                look_last=() if beside is None else (beside.resolve(),),
            )
        except (ValidationError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"the stored task cannot be read: {error}") from error


def _written_out(file: TaskFile) -> dict[str, Any]:
    """Return a file with every default in it: a later version with other defaults must not change a stored task."""
    data = file.model_dump(mode="json", exclude_none=True, exclude={"models"})
    if file.planner is not None:  # there `null` is not the default
        data["planner"] = file.planner.model_dump(mode="json")
    for name, stage in file.stages.items():
        if not stage.asks_model:
            data["stages"][name] = stage.model_dump(
                mode="json", exclude_none=True, include=set(stage.allowed_keys)
            )
    if not file.measures:  # earlier versions refuse keys that they do not know
        del data["measures"]
    return data


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _nominal(card: ModelCard) -> dict[str, float]:
    """Return the nominal size where there is one, so that other cards keep the digest that earlier versions gave them."""
    size = card.nominal_parameters
    return {} if size is None else {"nominal_parameters": size}


def _reward(card: ModelCard) -> dict[str, Any]:
    """Return how a model that only reads is asked; nothing for others, whose digests stay what they were."""
    if card.embedding is not None:
        return {"embedding": card.embedding.model_dump(mode="json", exclude_defaults=True, exclude={"batch"})}
    block = card.reward
    return {} if block is None else {"reward": block.model_dump(mode="json", exclude_defaults=True)}


def _weights(card: ModelCard) -> str:
    """Return which weights the card of a shipped model stands for."""
    from agenttts.models.clients import endpoint_of  # imports the clients of every source

    return endpoint_of(card)


def _file_digest(path: str) -> str | None:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def import_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return the function that a reference names; the user has allowed the task's own code.

    Raises:
        InputError: There is no such function, or its module cannot be imported.
    """
    module_name, _, name = reference.rpartition(":")
    try:
        module = (
            _module_of_file(folder / module_name)
            if module_name.endswith(".py")
            else importlib.import_module(module_name)
        )
        function = getattr(module, name)
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{reference}: cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise InputError(f"{reference}: expected a function, got {type(function).__name__}")
    return cast("Callable[..., Any]", function)


def _module_of_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"_agenttts_task_{_digest(str(path))[:12]}_{path.stem}", path
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
