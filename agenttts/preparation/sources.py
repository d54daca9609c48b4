"""Where published sets are read from: local files and folders, a Hugging Face data set, a web address.

Every source ends in files of the published shape, which are read a row at a time, so that sets of several gigabytes
need little memory. Files of a data set are fetched one by one at a commit rather than through
`datasets.load_dataset`: two of the sets come with a loading script, which `datasets` refuses since 4.0, a preparation
reads only some files of a set, and their digests go into its record.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.errors import DataError, InputError
from agenttts.preparation.base import Faults, Report, Row, Tables

__all__ = ["Files", "Origin", "Published", "Wanted", "found"]

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
BATCH = 64
"""Rows of a Parquet file that are held at a time."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """Which files of a published set are read: patterns on their paths, the first one that fits any file counts."""

    search: tuple[str, ...]
    test: tuple[str, ...]
    """The same as for search where one table is divided."""
    beside: Mapping[str, tuple[str, ...]]
    """Role -> patterns; such files may be missing."""


@dataclass(frozen=True)
class Published:
    """A published set."""

    home: str
    """Data set on Hugging Face, or web address of its file."""
    revision: str
    licence: str
    wanted: Wanted


@dataclass(frozen=True)
class Origin:
    """Where the rows came from."""

    source: str
    files: tuple[tuple[str, str], ...]
    """Name and SHA-256 of each file that was read."""


@dataclass(frozen=True)
class Files:
    """The rows of some files, one after the other; can be gone through again."""

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[Row]:
        faults = Faults()
        yield from (row for _, row in self.placed(faults))
        faults.check()

    def placed(self, faults: Faults) -> Iterator[tuple[str, Row]]:
        """Yield each row with its file and its line or number; what is no row goes to `faults`."""
        for path in self.paths:
            for place, row in _rows(path, faults):
                yield f"{path}: {place}", row


@contextmanager
def found(published: Published, source: str | None, report: Report) -> Iterator[tuple[Tables, Origin]]:
    """Give the tables of a published set, from where it is published or from `source`.

    Args:
        published: The set.
        source: A file, a folder, a web address, or a data set (`OWNER/NAME`, also with `@REVISION`); `None`: where it is
            published.
        report: Told what is fetched.

    Raises:
        InputError: The source is none of these.
        DataError: It cannot be fetched, or its files are not those of the set.
    """
    if source is None:
        source = f"{published.home}@{published.revision}" if published.revision else published.home
    local = Path(source).expanduser()
    if local.exists():
        yield _local(local, published.wanted)
    elif re.match(r"https?://", source):
        with tempfile.TemporaryDirectory() as folder:
            path = _downloaded(source, Path(folder), report)
            tables, origin = _local(path, published.wanted)
            yield tables, Origin(source, origin.files)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", source) and not source.endswith((*SUFFIXES, ".gz")):
        yield _hub(source, published.wanted, report)
    else:
        raise InputError(
            f"--from {source}: there is no such file or folder, and it is neither a web address nor a data set (OWNER/NAME)"
        )


# --- which files


def _local(place: Path, wanted: Wanted) -> tuple[Tables, Origin]:
    folder = place if place.is_dir() else place.parent
    inside = (
        [path for path in folder.rglob("*") if path.is_file()] if place.is_dir() else list(folder.iterdir())
    )
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(inside) if path.is_file()}
    if place.is_file():
        _suffix(place)
        both = [place.name]
        chosen = _Chosen(both, both, _beside(wanted, list(paths)))
    else:
        chosen = _chosen(wanted, list(paths), str(place))
    where = "a local file" if place.is_file() else "a local folder"
    return _tables(chosen, paths.__getitem__, where)


@dataclass(frozen=True)
class _Chosen:
    """Names of files by their role."""

    search: list[str]
    test: list[str]
    beside: dict[str, list[str]]

    def all(self) -> list[str]:
        """Return every name once."""
        return list(
            dict.fromkeys(
                [*self.search, *self.test, *(name for names in self.beside.values() for name in names)]
            )
        )


def _chosen(wanted: Wanted, names: Sequence[str], place: str) -> _Chosen:
    picked = []
    for split, patterns in (("search", wanted.search), ("test", wanted.test)):
        picked.append(_fitting(patterns, names))
        if not picked[-1]:
            raise DataError(
                f"{place}: no file for {split} problems. Expected a name that fits one of {', '.join(patterns)} and ends "
                f"in {', '.join(SUFFIXES)} (also .gz); or give one file, which is divided between search and test"
            )
    return _Chosen(picked[0], picked[1], _beside(wanted, names))


def _beside(wanted: Wanted, names: Sequence[str]) -> dict[str, list[str]]:
    return {role: _fitting(patterns, names)[:1] for role, patterns in wanted.beside.items()}


def _fitting(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    readable = [
        name for name in names if re.search(rf"({'|'.join(map(re.escape, SUFFIXES))})(\.gz)?$", name.lower())
    ]
    fits = ([name for name in readable if re.search(pattern, name.lower())] for pattern in patterns)
    return sorted(next(filter(None, fits), []))


def _tables(chosen: _Chosen, at: Callable[[str], Path], source: str) -> tuple[Tables, Origin]:
    search = Files(tuple(map(at, chosen.search)))
    test = search if chosen.test == chosen.search else Files(tuple(map(at, chosen.test)))
    beside = {role: Files(tuple(map(at, names))) for role, names in chosen.beside.items() if names}
    digests = tuple((name, _digest(at(name))) for name in chosen.all())
    return Tables(search, test, beside), Origin(source, digests)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- fetching


def _hub(source: str, wanted: Wanted, report: Report) -> tuple[Tables, Origin]:
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    name, _, revision = source.partition("@")
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        report(f"looking up {source}")
        info = huggingface_hub.HfApi().dataset_info(name, revision=revision or None)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        chosen = _chosen(wanted, names, source)
        paths = {}
        for file in chosen.all():
            report(f"fetching {file}")
            fetched = huggingface_hub.hf_hub_download(name, file, repo_type="dataset", revision=info.sha)
            paths[file] = Path(fetched)
    except DataError:
        raise
    except Exception as error:  # the library raises what its many layers raise
        raise _unreachable(source, error) from error
    return _tables(chosen, paths.__getitem__, f"data set {name} at commit {info.sha}")


def _downloaded(address: str, folder: Path, report: Report) -> Path:
    import httpx2

    path = folder / Path(address.partition("?")[0]).name
    _suffix(path)
    report(f"fetching {address}")
    try:
        with httpx2.stream("GET", address, follow_redirects=True, timeout=60) as reply:
            reply.raise_for_status()
            with path.open("wb") as file:
                for part in reply.iter_bytes():
                    file.write(part)
    except httpx2.HTTPError as error:
        raise _unreachable(address, error) from error
    return path


def _unreachable(source: str, error: Exception) -> DataError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return DataError(
        f"{source} cannot be fetched ({reason}). Check the network (and HF_TOKEN for a gated set), or give the files: "
        "--from FILE|FOLDER"
    )


# --- reading


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    found = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    if found is None:
        raise DataError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}, each also with .gz")
    return found


_Placed = Iterator[tuple[str, Any]]


def _rows(path: Path, faults: Faults) -> Iterator[tuple[str, Row]]:
    readers = {".jsonl": _json_lines, ".json": _json_values, ".csv": _csv_rows, ".parquet": _parquet_rows}
    try:
        for place, row in readers[_suffix(path)](path, faults):
            if isinstance(row, Mapping):
                yield place, row
            else:
                faults.add(f"{path}: {place}", f"expected an object, got {type(row).__name__}")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text file in UTF-8 (byte 0x{error.object[error.start]:02x})"
        ) from error
    except (OSError, EOFError, csv.Error, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _opened(path: Path) -> Any:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _json_lines(path: Path, faults: Faults) -> _Placed:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                faults.add(f"{path}: line {number}", f"not valid JSON: {error}")
            else:
                yield f"line {number}", value


def _json_values(path: Path, faults: Faults) -> _Placed:
    """Yield the items of a list, or the values that follow one another; TaskBench names JSON lines `.json`."""
    with _opened(path) as file:
        text = file.read()
    decoder, blank = json.JSONDecoder(), re.compile(r"[\s,]*")
    start = len(text) - len(text.lstrip())
    is_list = text[start : start + 1] == "["
    place = blank.match(text, start + is_list).end()  # type: ignore[union-attr]
    number = 0
    while place < len(text) and not (is_list and text[place] == "]"):
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {error.lineno}: not valid JSON: {error.msg}") from error
        number += 1
        yield f"row {number}", value
        place = blank.match(text, place).end()  # type: ignore[union-attr]
    if is_list and place >= len(text):
        raise DataError(f"{path}: not valid JSON: the list has no end; the file is cut off")


def _csv_rows(path: Path, faults: Faults) -> _Placed:
    with _opened(path) as file:
        reader = csv.DictReader(file, strict=True)
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                what = f"a row has another number of values than the header: {str(row)[:100]}"
                faults.add(f"{path}: {place}", what)
            else:
                yield place, row


class _BatchRow(Mapping[str, Any]):
    """One row of a batch, whose values become Python's when they are asked for: most rows are only asked who they are."""

    def __init__(self, batch: Any, place: int) -> None:
        self._batch, self._place = batch, place

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self._batch.column(name)[self._place].as_py()

    def __contains__(self, name: object) -> bool:
        return name in self._batch.schema.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.schema.names)

    def __len__(self) -> int:
        return len(self._batch.schema.names)


def _parquet_rows(path: Path, faults: Faults) -> _Placed:
    import pyarrow
    import pyarrow.parquet

    source = io.BytesIO(gzip.decompress(path.read_bytes())) if path.name.lower().endswith(".gz") else path
    try:
        before = 0
        for batch in pyarrow.parquet.ParquetFile(source).iter_batches(batch_size=BATCH):
            for place in range(batch.num_rows):
                yield f"row {before + place + 1}", _BatchRow(batch, place)
            before += batch.num_rows
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
