"""From a chat to the fields of a problem: what a served plan and the plug-ins of harnesses share. Pure.

A plan reads fields of a problem; a chat has messages. Which message becomes which field is said by a mapping from the
field to a source:

- `user`: the last message of the user; `first_user`: the first one; `system`: all system messages, joined;
- `conversation`: all messages, each after the name of its role;
- `json.KEY`: a key of the JSON object that is the last message of the user, e.g. `json.question`.

Without a mapping, a plan that reads a single field gets the last message of the user as it stands, and one that reads
several expects a JSON object of its fields there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agenttts.errors import InputError
from agenttts.models.base import Message

if TYPE_CHECKING:
    from agenttts.task.schema import TaskFile

__all__ = ["SOURCES", "fields_from_messages", "fields_read", "mapping_faults", "parse_mapping"]

SOURCES = ("user", "first_user", "system", "conversation")
"""What a field may be taken from, besides `json.KEY`."""
JSON = "json."


def fields_read(file: TaskFile) -> list[str]:
    """Return the fields that answering a problem reads: by prompts, and by verifiers that select or test.

    What functions of the user read is not known. Gold, which only scoring reads, is not among them.
    """
    from agenttts.task.naming import verifier_blocks
    from agenttts.task.templates import problem_fields

    found = problem_fields(file)
    for at, verifier in verifier_blocks(file):
        scores = at[0] in {"score", "measures"} or "score" in at[2:3]
        if not scores:
            found += [path.partition(".")[0] for path in (verifier.tests, verifier.field) if path]
    return list(dict.fromkeys(found))


def fields_from_messages(
    messages: Sequence[Message], reads: Sequence[str], mapping: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the fields of the problem that a chat holds.

    Args:
        messages: The chat, oldest first.
        reads: Fields that the plan reads, see `fields_read`.
        mapping: Source of each field (see the module); `None` or empty: as without one. Fields that are read and that
            it does not name are taken from the JSON object, where there is one.

    Raises:
        InputError: The chat lacks a source, or the JSON object a field; the message says what to send.
    """
    if not mapping:
        if len(reads) == 1:
            return {reads[0]: _source("user", messages, reads)}
        return _all_of(_object(messages, reads), reads)
    fields = {name: _source(source, messages, reads) for name, source in mapping.items()}
    rest = [name for name in reads if name not in fields]
    return {**fields, **_all_of(_object(messages, rest), rest)} if rest else fields


def parse_mapping(text: str) -> dict[str, str]:
    """Read a mapping from `field:source;field:source`, as it is written in options; `=` does for `:`.

    Raises:
        InputError: It is written otherwise, or a source is unknown.
    """
    pairs = [part.replace("=", ":", 1).partition(":") for part in text.split(";") if part.strip()]
    mapping = {field.strip(): source.strip() for field, _, source in pairs}
    if faults := mapping_faults(mapping):
        raise InputError(f"fields {text!r}: {faults[0]}")
    return mapping


def mapping_faults(mapping: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a mapping, in words."""
    return [
        f"`{field}` is taken from {source!r}; expected {', '.join(SOURCES)} or {JSON}KEY, "
        "as in `question:user;context:system`"
        for field, source in mapping.items()
        if not field or (source not in SOURCES and (not source.startswith(JSON) or source == JSON))
    ]


def _source(source: str, messages: Sequence[Message], reads: Sequence[str]) -> Any:
    if source.startswith(JSON):
        key = source.removeprefix(JSON)
        return _all_of(_object(messages, [key]), [key])[key]
    if source == "conversation":
        return "\n\n".join(f"{message.role}: {message.content}" for message in messages)
    role = "system" if source == "system" else "user"
    found = [message.content for message in messages if message.role == role]
    if not found:
        raise InputError(f"there is no message of the role {role}; the plan reads {_listed(reads)} from one")
    if source == "system":
        return "\n\n".join(found)
    return found[0] if source == "first_user" else found[-1]


def _object(messages: Sequence[Message], wanted: Sequence[str]) -> Mapping[str, Any]:
    """Return the JSON object that the user's last message is."""
    if not wanted:  # prompts may read the problem as a whole, or nothing of it
        wanted = ["field"]
    text = _source("user", messages, wanted)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    shown = json.dumps(dict.fromkeys(wanted, "..."))
    raise InputError(
        f"the plan reads {_listed(wanted)}: send a JSON object such as {shown} as the last message of the user, "
        "or say which message each field is taken from"
    )


def _all_of(data: Mapping[str, Any], reads: Sequence[str]) -> dict[str, Any]:
    missing = [name for name in reads if name not in data]
    if missing:
        raise InputError(
            f"the JSON object of the last message lacks {_listed(missing)}; it has {_listed(list(data)[:20])}"
        )
    return dict(data)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no field"
