"""Which field of a file is the id, the question, the gold answer. Pure; guesses come with their reasons.

By the name first, in the order of the lists below, then by what a field holds. A guess that rests on neither is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agenttts.errors import InputError
from agenttts.starting.chats import Chat, chat_forms, find_chat
from agenttts.starting.options import Options, find_options
from agenttts.starting.sheet import Row, is_empty, values
from agenttts.task.reading import nearest

__all__ = ["Columns", "Guess", "guess_columns"]

IDS = ("id", "uid", "qid", "questionid", "problemid", "taskid", "exampleid", "idx", "index", "key", "uuid")
QUESTIONS = (
    "question", "problem", "prompt", "query", "instruction", "input", "text", "task", "description", "statement",
    "sentence", "content", "message", "source", "q",
)  # fmt: skip
PLAIN_QUESTIONS = QUESTIONS[:5]
"""Names that mean the question even beside a chat; `source` or `text` may be anything there."""
GOLDS = (
    "gold", "goldanswer", "answer", "finalanswer", "target", "groundtruth", "expected", "expectedanswer",
    "correctanswer", "expectedoutput", "answers", "goldenanswers", "answerkey", "label", "correct", "output", "solution",
    "reference", "response", "completion", "result", "summary", "translation", "category", "class", "canonicalsolution",
    "code", "a", "y",
)  # fmt: skip
TESTS = ("testlist", "tests", "test", "hiddentests", "privatetests", "privatetestcases", "unittests", "testcases", "inputoutput")  # fmt: skip
PUBLIC_TESTS = ("publictests", "publictestcases", "exampletests", "visibletests", "examples", "sampletests")
CONTEXTS = ("context", "passage", "passages", "document", "article", "paragraph", "background", "input")
INSIDE_GOLD = ("value", "text", "answer", "aliases", "label")
"""Where an answer stands within a field that is a mapping, e.g. `answer: {value: ..., aliases: [...]}`."""
LOOKED_AT = 20
"""Rows whose tests are read to tell whether a field holds tests."""


@dataclass(frozen=True)
class Guess:
    """A field, and why it was taken."""

    field: str
    """Dotted path."""
    why: str


@dataclass(frozen=True)
class Columns:
    """What the fields of a file are."""

    question: Guess
    gold: Guess | None
    """`None`: answers are judged by `tests`."""
    id: Guess | None
    """`None`: no field tells every row apart."""
    contexts: tuple[str, ...] = ()
    """Texts that the question is about."""
    options: Options | None = None
    """Answers to choose from."""
    tests: Guess | None = None
    public_tests: Guess | None = None


def guess_columns(
    rows: Sequence[Row],
    fields: Sequence[str],
    *,
    question: str | None = None,
    gold: str | None = None,
    id_field: str | None = None,
) -> Columns:
    """Return what the fields are; those that are given are taken as they are.

    Raises:
        InputError: A given field is not there, or which one holds the question or the gold answer cannot be told.
    """
    finder = _Finder(rows, fields)
    known_id = finder.given(id_field, "--id") or finder.id()
    tests = None if gold is not None and not finder.is_tests(gold) else finder.tests(gold)
    taken = {guess.field for guess in (known_id, tests) if guess is not None}
    asked = finder.given(question, "--question")
    found = None
    if tests is None:
        found = finder.given(gold, "--gold") or finder.gold(taken | ({asked.field} if asked else set()))
    if found is not None and asked is not None and found.field == asked.field:
        raise InputError(
            f"--question {asked.field}: the right answer stands there, too.\nName another field for it."
        )
    taken |= {found.field.partition(".")[0]} if found is not None else set()
    asked = asked or finder.question(taken)
    if tests is None and found is None:
        raise InputError(finder.no_gold({asked.field, *taken}))
    public = finder.public_tests() if tests is not None else None
    used = taken | {asked.field, asked.field.partition(".")[0]}
    options = find_options(rows, [name for name in fields if name not in used])
    contexts = (*finder.system_of(asked), *finder.contexts(used))
    return Columns(asked, found, known_id, contexts, options, tests, public)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


@dataclass(frozen=True)
class _Finder:
    rows: Sequence[Row]
    fields: Sequence[str]

    def given(self, path: str | None, option: str) -> Guess | None:
        if path is None:
            return None
        if all(is_empty(value) for value in values(self.rows, path)):
            hint = nearest(path, self.fields, listed="Fields of the data")
            raise InputError(f"{option} {path}: no row has a value there.\n{hint}".rstrip())
        return Guess(path, "you named it")

    def named(
        self, names: Sequence[str], fits: Callable[[str], bool], taken: Collection[str] = ()
    ) -> Guess | None:
        """Return the field with the first of the names that fits, whole names before parts of names."""
        free = [field for field in self.fields if field not in taken]
        for name in names:
            for field in free:
                if _plain(field) == name and fits(field):
                    return Guess(field, "by its name")
        for name in names:
            for field in free:
                if name in map(_plain, re.split(r"[^A-Za-z0-9]+", field)) and fits(field):
                    return Guess(field, f"its name holds `{name}`")
        return None

    def id(self) -> Guess | None:
        return self.named(IDS, self._identifies)

    def _identifies(self, field: str) -> bool:
        found = values(self.rows, field)
        if not all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in found):
            return False
        return len({str(one) for one in found}) == len(found)

    def question(self, taken: Collection[str]) -> Guess:
        """Raises InputError where no field could be one."""
        found = self.named(PLAIN_QUESTIONS, self._is_text, taken)
        if found is None and self.chat is not None:
            found = Guess(self.chat.question, "what the user says in the chat")
        found = found or self.named(QUESTIONS, self._is_text, taken)
        texts = [name for name in self.fields if name not in taken and self._is_text(name)]
        if found is None and texts:
            found = Guess(max(texts, key=self._length), "it holds the longest texts")
        if found is None:
            raise InputError(self._no_question())
        return found

    def _no_question(self) -> str:
        for field in self.fields:
            if forms := chat_forms(self.rows, field):
                shown = " or ".join("-".join(form[:6]) for form in sorted(forms)[:3])
                return (
                    f"`{field}` holds chats that are no single question and answer of one form (they are {shown}).\n"
                    "Write question and right answer into fields of their own, as in "
                    '{"question": "...", "answer": "..."}.'
                )
        return f"no field looks like a question.\nName it with --question. {self._listed(self.fields)}"

    @cached_property
    def chat(self) -> Chat | None:
        """Question and answer where a field holds chats."""
        return find_chat(self.rows, self.fields)

    def system_of(self, question: Guess) -> tuple[str, ...]:
        """Return the system message of the chat that the question stands in."""
        chat = self.chat
        if chat is None or chat.system is None or chat.question != question.field:
            return ()
        return (chat.system,)

    def gold(self, taken: Collection[str]) -> Guess | None:
        found = self.named(GOLDS, self._is_filled, taken)
        if found is not None:
            return self._inside(found)
        if self.chat is not None and self.chat.answer is not None:
            return Guess(self.chat.answer, "the reply in the chat")
        left = [name for name in self.fields if name not in taken and self._is_filled(name)]
        if len(left) == 2:  # one of them is the question, the longer one
            return self._inside(Guess(min(left, key=self._length), "the shorter one of two fields"))
        return None

    def _inside(self, guess: Guess) -> Guess:
        """Return the answer within a field of mappings, where all of them have it."""
        found = [value for value in values(self.rows, guess.field) if not is_empty(value)]
        if not all(isinstance(value, dict) for value in found):
            return guess
        for key in INSIDE_GOLD:
            if all(key in value and not isinstance(value[key], dict) for value in found):
                return Guess(f"{guess.field}.{key}", f"{guess.why}, and `{key}` in it")
        return guess

    def tests(self, given: str | None) -> Guess | None:
        if given is not None:
            return Guess(given, "you named it, and it holds tests")
        found = self.named(TESTS, self.is_tests)
        return None if found is None else Guess(found.field, f"{found.why}, and it holds tests of code")

    def public_tests(self) -> Guess | None:
        return self.named(PUBLIC_TESTS, self.is_tests)

    def is_tests(self, field: str) -> bool:
        """Return whether a field holds tests of code in the first rows."""
        from agenttts.pipeline.base import Problem
        from agenttts.verifiers.code_tests import TestsError, read_tests

        seen = [row for row in self.rows[:LOOKED_AT] if not is_empty(values([row], field)[0])]
        try:
            for row in seen:
                if not _says_tests(values([row], field)[0]):
                    return False
                read_tests(Problem("row", dict(row)), field, "auto", "entry_point")
        except (TestsError, RecursionError):
            return False
        return bool(seen)

    def contexts(self, taken: Collection[str]) -> tuple[str, ...]:
        """Return the fields that a question is about: texts that every row has."""
        return tuple(
            name
            for name in self.fields
            if name not in taken and _plain(name) in CONTEXTS and self._in_every_row(name)
        )

    def _in_every_row(self, name: str) -> bool:
        found = [row.get(name) for row in self.rows]
        return all(isinstance(value, str) for value in found) and any(map(bool, found))

    def _is_text(self, name: str) -> bool:
        found = [value for value in values(self.rows, name) if not is_empty(value)]
        return bool(found) and all(isinstance(value, str) for value in found)

    def _is_filled(self, name: str) -> bool:
        return any(not is_empty(value) for value in values(self.rows, name))

    def _length(self, name: str) -> float:
        return sum(len(_text(value)) for value in values(self.rows, name)) / len(self.rows)

    def _listed(self, names: Iterable[str]) -> str:
        return nearest("", names, listed="Fields of the data")

    def no_gold(self, taken: Collection[str]) -> str:
        left = [name for name in self.fields if name not in taken]
        return (
            "no field looks like the right answer, and a search needs one to score by.\n"
            f"Name it with --gold. {self._listed(left) or 'There is no other field: add one to the file.'}"
        )


def _says_tests(value: Any) -> bool:
    """Return whether a value may be tests: a line of text that happens to be Python is none."""
    text = value if isinstance(value, str) else str(value)
    return "assert" in text or "input" in text or "check(" in text


def _text(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:
        return ""
