"""Rows that hold a chat, as files for fine-tuning do: which message is the question, which the answer. Pure.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
    {"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}

Only chats of one turn are taken, and only where those of all rows have the same form: a path means one message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.starting.sheet import Row, values

__all__ = ["Chat", "chat_forms", "find_chat"]

KEYS = (("role", "content"), ("from", "value"))
ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
"""Other words for roles."""
FORMS = (("user",), ("user", "assistant"), ("system", "user"), ("system", "user", "assistant"))

Form = tuple[str, ...]


@dataclass(frozen=True)
class Chat:
    """Dotted paths of the messages."""

    question: str
    answer: str | None
    system: str | None


def find_chat(rows: Sequence[Row], fields: Sequence[str]) -> Chat | None:
    """Return the messages of the first field that holds chats of one turn."""
    for field in fields:
        forms = chat_forms(rows, field)
        if len(forms) == 1 and forms <= set(FORMS) and "." not in field:
            (form,) = forms
            path = {role: f"{field}.{i}.{_text_key(rows, field)}" for i, role in enumerate(form)}
            return Chat(path["user"], path.get("assistant"), path.get("system"))
    return None


def chat_forms(rows: Sequence[Row], field: str) -> set[Form]:
    """Return the sequences of roles that occur; none where the field holds other things than chats."""
    found = [value for value in values(rows, field) if value is not None]
    keys = _keys(found)
    if keys is None:
        return set()
    said = [[str(message[keys[0]]).casefold() for message in chat] for chat in found]
    return {tuple(ROLES.get(role, role) for role in roles) for roles in said}


def _keys(found: Sequence[Any]) -> tuple[str, str] | None:
    """Return the names of role and text that all messages have."""
    for role, text in KEYS:
        if found and all(_is_chat(value, role, text) for value in found):
            return role, text
    return None


def _is_chat(value: Any, role: str, text: str) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(one, Mapping) and isinstance(one.get(role), str) and isinstance(one.get(text), str)
            for one in value
        )
    )


def _text_key(rows: Sequence[Row], field: str) -> str:
    keys = _keys([value for value in values(rows, field) if value is not None])
    assert keys is not None  # noqa: S101 - only asked of fields that hold chats
    return keys[1]
