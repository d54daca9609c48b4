"""What the plug-ins share: finding a plan by name, the problem that a conversation holds, the text of a reply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.errors import InputError
from agenttts.models.base import Message
from agenttts.pipeline.base import Problem
from agenttts.pipeline.messages import fields_from_messages, fields_read, mapping_faults, parse_mapping
from agenttts.pipeline.plan import Plan, PlanAnswer

__all__ = ["ROW", "Reading", "check_content", "find_plan", "reply_text"]

ROW = "row."
"""Before the name of a column of the harness's own data set, as the source of a field."""


def find_plan(name: str | Path, *, trust: bool = False, endpoint: str | None = None) -> Plan:
    """Return a plan by the path of its file, of its run's folder, or by the name of its run.

    Paths count from the working folder, or else from where the command was started: harnesses move into the folder of
    the file that they load.

    Raises:
        PlanError: There is none, or it cannot be read.
    """
    from agenttts.study.scoring import load_plan
    from agenttts.study.study import RUNS

    started = Path(os.environ.get("PWD", ""))
    places = [base / folder / name for base in (Path(), started) for folder in (Path(), RUNS)]
    place = next((place for place in places if place.exists()), Path(name))
    return load_plan(place, trust=trust, endpoint=endpoint)


def reply_text(plan: Plan, answer: PlanAnswer, content: str) -> str:
    """Return what a plan says.

    Args:
        plan: What answered.
        answer: What it made of a problem.
        content: `text`: the text of the selected sample; `answer`: what was read out of it.
    """
    from agenttts.serve.telling import text_of

    return text_of(answer.stages[plan.task.scored_stage], "answer" if content == "answer" else "text")


def check_content(content: str) -> None:
    """Refuse what is none of the two.

    Raises:
        InputError: It is neither `text` nor `answer`.
    """
    if content not in {"text", "answer"}:
        raise InputError(f"content: expected text or answer, got {content!r}")


@dataclass(frozen=True)
class Reading:
    """From a conversation, and the row of the harness's data set that it was made of, to a problem.

    Sources of fields are those of `agenttts.pipeline.messages`, and `row.COLUMN`.
    """

    reads: tuple[str, ...]
    mapping: Mapping[str, str]
    id_field: str | None

    @classmethod
    def of(cls, plan: Plan, fields: str | Mapping[str, str] | None = None) -> Reading:
        """Return how a plan is asked; `fields` replaces single ones of the plan's own mapping.

        Raises:
            InputError: A source is unknown.
        """
        given = _mapping(fields)
        if faults := mapping_faults({k: v for k, v in given.items() if not v.startswith(ROW)}):
            raise InputError(f"fields: {faults[0]}, or {ROW}COLUMN")
        return cls(tuple(fields_read(plan.task.file)), {**plan.messages, **given}, plan.task.file.data.id)

    def problem(
        self, messages: Sequence[Message], row: Mapping[str, Any] | None = None, problem_id: object = None
    ) -> Problem:
        """Return the problem.

        A plan that reads a single field gets what the user says, unless the mapping says otherwise. Of several fields,
        those that the mapping does not name are the columns of the row that have their names. If a single one is
        missing there, it is what the user says; if several are, that must be a JSON object of them.

        Args:
            messages: The conversation.
            row: Columns of the data set by name; `None`: not known.
            problem_id: Of the data set, where the fields hold none.

        Raises:
            InputError: A field is nowhere; the message tells what to send.
        """
        columns = row or {}
        named = [name for name in self.reads if name not in self.mapping] if len(self.reads) > 1 else []
        fields = {name: columns[name] for name in named if name in columns}
        for name, source in self.mapping.items():
            if source.startswith(ROW):
                fields[name] = _column(columns, source.removeprefix(ROW), name)
        rest = [name for name in self.reads if name not in fields]
        said = {name: source for name, source in self.mapping.items() if not source.startswith(ROW)}
        if rest or said or not self.reads:
            fields = {**fields_from_messages(messages, rest, said), **fields}
        return Problem(str(self._id(fields, columns, problem_id)), fields)

    def _id(self, fields: Mapping[str, Any], columns: Mapping[str, Any], given: object) -> object:
        """Return what identifies the problem: recorded draws are known by it."""
        if self.id_field is not None:
            for held in (fields, columns):
                if held.get(self.id_field) is not None:
                    return held[self.id_field]
        return "problem" if given is None else given


def _mapping(fields: str | Mapping[str, str] | None) -> dict[str, str]:
    if fields is None:
        return {}
    if isinstance(fields, Mapping):
        return {str(name): str(source) for name, source in fields.items()}
    parts = [part.replace("=", ":", 1) for part in fields.split(";")]
    rows = [part for part in parts if part.partition(":")[2].strip().startswith(ROW)]
    others = ";".join(part for part in parts if part not in rows)
    return parse_mapping(others) | {
        name.strip(): source.strip() for name, _, source in (part.partition(":") for part in rows)
    }


def _column(columns: Mapping[str, Any], column: str, field: str) -> Any:
    if column not in columns:
        known = ", ".join(f"`{name}`" for name in list(columns)[:20]) or "none"
        raise InputError(f"`{field}` is taken from the column `{column}`, and the row has: {known}")
    return columns[column]
