"""Mistakes against a schema in plain words: what was expected, what stands there, and on which line.

The expectation is read off the schema's types, so that a new field needs no new message.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agenttts.errors import Mistake
from agenttts.task.reading import Document, nearest

__all__ = ["described", "repaired", "validated"]

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[int | str, ...]

EXPECTED = {
    "n_samples": "a whole number of at least 1, a list of them, or a range such as {min: 1, max: 32}",
    "select": "a way to select such as `majority`, or a list of them",
}
"""Fields whose YAML form is wider than their type says."""
SECRET_KEYS = ("api_key", "key", "token", "api_token", "secret", "password")


def validated(document: Document, model: type[Model]) -> tuple[Model | None, dict[str, Any], list[Mistake]]:
    """Read a document as `model`.

    Returns:
        The value (`None` where there are mistakes), the document's data with unknown keys renamed to what they seem to
        mean or else left out, and all mistakes.
    """
    data = document.data
    errors = _errors(model, data)
    if not errors:
        return model.model_validate(data), data, []
    fixed, meant = repaired(model, data, errors)
    errors = [error for error in errors if error["loc"] not in meant]  # not missing, only misspelt
    mistakes = [_mistake(document, model, error, error["loc"]) for error in errors]
    # A misspelt key hides what the block's own rules would say; ask again with the key as it was meant.
    mistakes += [
        _mistake(document, model, error, _as_written(error["loc"], meant))
        for error in _errors(model, fixed)
        if not _is_covered(error["loc"], errors)
    ]
    return None, fixed, list(dict.fromkeys(mistakes))


def _as_written(loc: Loc, meant: dict[Loc, str]) -> Loc:
    """Return a place with the key that stands in the file instead of the one that was meant."""
    return tuple(
        meant.get(loc[: depth + 1], str(part)) if isinstance(part, str) else part
        for depth, part in enumerate(loc)
    )


def _errors(model: type[BaseModel], data: dict[str, Any]) -> list[ErrorDetails]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return [
            entry
            for entry in error.errors(include_url=False)
            if not _is_other_branch(model, entry["loc"], data)
        ]
    return []


def _is_covered(loc: Loc, errors: Sequence[ErrorDetails]) -> bool:
    return any(loc[: len(error["loc"])] == error["loc"] for error in errors)


def repaired(
    model: type[BaseModel], data: dict[str, Any], errors: Sequence[ErrorDetails]
) -> tuple[dict[str, Any], dict[Loc, str]]:
    """Return a copy in which unknown keys are renamed to the nearest known one that is missing, or left out.

    Returns:
        The copy, and for each renamed place the key that stands in the file.
    """
    result: dict[str, Any] = copy.deepcopy(data)
    renamed: dict[Loc, str] = {}
    for error in errors:
        block = _value_at(result, error["loc"][:-1])
        name = error["loc"][-1] if error["loc"] else None
        if error["type"] != "extra_forbidden" or not isinstance(block, dict) or name not in block:
            continue
        value = block.pop(name)
        meant = nearest(name, _known_keys(model, error["loc"])).partition("`")[2].partition("`")[0]
        if meant and meant not in block and str(name).lower() not in SECRET_KEYS:
            block[meant] = value
            renamed[(*error["loc"][:-1], meant)] = str(name)
    return result, renamed


def _value_at(data: Any, loc: Loc) -> Any:
    """Return what stands at a place, passing over union tags and indices of entries that stand alone."""
    for part in loc:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
    return data


def _is_other_branch(model: type[BaseModel], loc: Loc, data: dict[str, Any]) -> bool:
    """Tell whether an error belongs to a branch of a union that the value is not meant for."""
    for depth, part in enumerate(loc):
        if not isinstance(part, str) or "[" not in part or part == "[key]":
            continue
        value = _value_at(data, loc[:depth])
        is_list_branch = part.startswith(("tuple", "list"))
        if isinstance(value, dict):
            return is_list_branch
        if isinstance(value, list | int):
            return not is_list_branch
        return not is_list_branch  # a word: one message for all branches, worded by `_expectation`
    return False


def _mistake(document: Document, model: type[BaseModel], error: ErrorDetails, place: Loc) -> Mistake:
    """Word one error; `place` is its key path as the file has it, where a misspelt key was mended."""
    loc = error["loc"]
    key = str(loc[-1]) if loc else ""
    if error["type"] == "extra_forbidden":
        return document.mistake(place, "unknown key.", _unknown_key_hint(model, loc, key))
    if error["type"] == "missing":
        return document.mistake(place, f"missing; expected {_expectation(model, loc)}.")
    if error["type"] == "value_error":
        return document.mistake(place, f"{error['ctx']['error']}.")
    if key == "[key]" or error["type"] == "invalid_key":
        place = place[:-1] if key == "[key]" else place
        expected = "expected letters, digits and _, a letter first"
        return document.mistake(place, f"{expected}, got the name {place[-1]!r}.")
    if key == "format" and isinstance(error["input"], int) and error["input"] > 1:
        return document.mistake(
            place, f"written in format {error['input']}; this version reads 1.", "Upgrade agenttts."
        )
    hint = nearest(error["input"], options, listed="") if (options := _choices(model, loc)) else ""
    return document.mistake(place, f"expected {_expectation(model, loc)}, got {_got(error['input'])}.", hint)


def _unknown_key_hint(model: type[BaseModel], loc: Loc, key: str) -> str:
    known = _known_keys(model, loc)
    if key.lower() in SECRET_KEYS and "api_key_env" in known:
        return "Keys never stand in files: name the environment variable that holds it in `api_key_env`."
    return nearest(key, known, listed="Known keys here")


def _got(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expectation(model: type[BaseModel], loc: Loc) -> str:
    for depth in range(len(loc)):
        if "[" in str(loc[depth]) and depth and depth == len(loc) - 1:  # the union as a whole
            loc = loc[:depth]
            break
    if loc and loc[-1] in EXPECTED:
        return EXPECTED[str(loc[-1])]
    return " or ".join(dict.fromkeys(described(kind) for kind in _types_at(model, loc)))


def _choices(model: type[BaseModel], loc: Loc) -> list[str]:
    found = []
    for kind in _types_at(model, loc):
        for option, _ in _options(kind):
            if get_origin(option) is Literal:
                found += [str(value) for value in get_args(option)]
            elif isinstance(option, type) and issubclass(option, Enum):
                found += [str(member.value) for member in option]
    return found


def _known_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    blocks = [
        option for kind in _types_at(model, loc[:-1]) for option, _ in _options(kind) if _is_block(option)
    ]
    names = [name for block in blocks for name in _keys(block)]
    return [name for name in names if not (name == "name" and "source" in names)]  # a card's name is its key


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@cache
def _keys(block: type[BaseModel]) -> dict[str, str]:
    """Return the keys of a block as they stand in a file, each with the attribute that holds it."""
    return {field.alias or name: name for name, field in block.model_fields.items()}


@cache
def _hints(model: type[BaseModel]) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def _types_at(model: type[BaseModel], loc: Loc) -> list[Any]:
    """Return the types that the schema allows at a place."""
    kinds: list[Any] = [model]
    for part in loc:
        options = [option for kind in kinds for option, _ in _options(kind)]
        inner = [step for option in options for step in _inner(option, part)]
        kinds = inner or kinds  # a union tag changes nothing
    return kinds


def _inner(option: Any, part: int | str) -> Iterator[Any]:
    if _is_block(option) and part in (keys := _keys(option)):
        yield _hints(option)[keys[str(part)]]
    elif get_origin(option) is dict and "[" not in str(part):
        yield get_args(option)[1]
    elif get_origin(option) in (tuple, list) and isinstance(part, int):
        yield get_args(option)[0]


def _options(kind: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield the members of a union without `None`, each with its constraints."""
    if get_origin(kind) is Annotated:
        inner, *extras = get_args(kind)
        found = tuple(entry for extra in extras for entry in getattr(extra, "metadata", [extra]))
        yield from _options(inner, (*metadata, *found))
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _options(member, metadata)
    elif kind is not NoneType:
        yield kind, metadata


def described(kind: Any) -> str:
    """Return a type of the schema in plain words, e.g. `a whole number of at least 1`."""
    return " or ".join(dict.fromkeys(_one_described(option, metadata) for option, metadata in _options(kind)))


def _one_described(kind: Any, metadata: tuple[Any, ...]) -> str:
    if get_origin(kind) is Literal:
        return _one_of([str(value) for value in get_args(kind)])
    if get_origin(kind) in (tuple, list):
        return f"a list (each entry {described(get_args(kind)[0])})"
    if get_origin(kind) is dict or kind is dict:
        return "a block of keys with values"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of([str(member.value) for member in kind])
    if _is_block(kind):
        return f"a block with keys such as {', '.join(f'`{name}`' for name in list(_keys(kind))[:4])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(kind, "a value") + _limits(metadata)


def _one_of(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"one of {', '.join(values)}"


def _limits(metadata: tuple[Any, ...]) -> str:
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    parts = []
    for entry in metadata:
        parts += [f"{word} {getattr(entry, name):g}" for name, word in words.items() if hasattr(entry, name)]
        if getattr(entry, "pattern", None):
            parts.append("of letters, digits, _, - and ., a letter or digit first")
    return f" {' and '.join(parts)}" if parts else ""
