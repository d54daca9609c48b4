"""Rows that hold a chat."""

from __future__ import annotations

from typing import Any

import pytest

from agenttts.errors import InputError
from agenttts.starting.chats import Chat, chat_forms, find_chat
from agenttts.starting.columns import Columns, guess_columns


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


QUESTION, REPLY = turn("user", "What is 1 + 1?"), turn("assistant", "2")
SYSTEM = turn("system", "Be short.")


def columns(row: dict[str, Any], **given: str) -> Columns:
    return guess_columns([row, row], list(row), **given)


def test_question_and_reply_of_a_chat_are_found() -> None:
    found = columns({"source": "web", "messages": [SYSTEM, QUESTION, REPLY]})
    assert found.gold is not None
    assert (found.question.field, found.gold.field) == ("messages.1.content", "messages.2.content")
    assert found.contexts == ("messages.0.content",)


def test_words_of_other_formats_are_known() -> None:
    rows = [{"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]}]
    assert find_chat(rows, ["conversations"]) == Chat("conversations.0.value", "conversations.1.value", None)


def test_columns_that_say_what_they_are_come_before_a_chat() -> None:
    found = columns({"prompt": "What?", "messages": [QUESTION, REPLY], "answer": "2"})
    assert found.gold is not None
    assert (found.question.field, found.gold.field) == ("prompt", "answer")
    asked = columns({"messages": [QUESTION], "answer": "2"})
    assert asked.question.field == "messages.0.content"


def test_chats_of_several_turns_or_forms_are_refused_with_what_to_write() -> None:
    long = [QUESTION, REPLY, QUESTION, REPLY]
    with pytest.raises(InputError, match=r"user-assistant-user-assistant(.|\n)*fields of their own"):
        columns({"messages": long}, gold="messages")
    rows = [{"messages": [QUESTION, REPLY]}, {"messages": [SYSTEM, QUESTION, REPLY]}]
    assert find_chat(rows, ["messages"]) is None
    assert chat_forms(rows, "messages") == {("user", "assistant"), ("system", "user", "assistant")}


@pytest.mark.parametrize("value", ["text", [], [1], [{"role": "user"}], [{"role": 1, "content": "x"}], {}])
def test_other_things_are_no_chats(value: Any) -> None:
    assert chat_forms([{"messages": value}], "messages") == set()
