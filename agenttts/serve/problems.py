"""From a request to the problem that the plan is to answer. Pure.

The fields come from, in this order: `problem` of the request (`extra_body={"problem": {...}}`); `metadata`, where it
holds all of them; the messages, as the plan or `--map` says (see `agenttts.pipeline.messages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agenttts.errors import InputError
from agenttts.pipeline.base import Problem
from agenttts.pipeline.messages import SOURCES, fields_from_messages, fields_read
from agenttts.pipeline.plan import Plan
from agenttts.serve.protocol import ChatRequest
from agenttts.serve.refused import Refused

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """Which fields a plan reads, and where a chat holds them."""

    reads: tuple[str, ...]
    mapping: Mapping[str, str]
    """Field -> source; empty: as without a mapping."""
    id_field: str | None
    """Field that identifies a problem, by which recorded draws are known; `None`: none."""

    @classmethod
    def of(cls, plan: Plan, mapping: Mapping[str, str] | None = None) -> Reading:
        """Return how a plan is asked; `mapping` replaces single fields of the plan's own."""
        merged = {**plan.messages, **(mapping or {})}
        return cls(tuple(fields_read(plan.task.file)), merged, plan.task.file.data.id)

    def problem(self, asked: ChatRequest, request_id: str) -> Problem:
        """Return the problem that a request holds.

        Raises:
            Refused: It lacks a field, or there is nothing in it; names the fields.
        """
        fields = self._fields(asked)
        self._check_asks(fields, "messages" if asked.problem is None else "problem")
        known = fields.get(self.id_field) if self.id_field is not None else None
        return Problem(request_id if known is None else str(known), fields)

    def _fields(self, asked: ChatRequest) -> dict[str, Any]:
        if asked.problem is not None:
            return self._complete(asked.problem)
        if not self.mapping and self.reads and set(self.reads) <= asked.metadata.keys():
            return dict(asked.metadata)
        try:
            return fields_from_messages(asked.messages, self.reads, self.mapping)
        except InputError as error:
            message = f'{error}. The fields may also come as `problem` in the body: {{"problem": {{...}}}}'
            raise Refused(message, code="missing_fields", param="messages") from error

    def _check_asks(self, fields: Mapping[str, Any], param: str) -> None:
        """Refuse a problem that asks nothing, before a whole plan is bought for it.

        A row of data may leave a field empty, so of an object only that all are empty is refused; a message that is a
        field by itself has no other meaning.
        """
        blank = [name for name in self.reads if _is_blank(fields[name])]
        messages = [name for name in blank if self.mapping.get(name) in SOURCES]
        if empty := messages or (blank if len(blank) == len(self.reads) else []):
            message = f"{_listed(empty)}: empty, so that there is nothing to answer"
            raise Refused(message, code="empty_field", param=param)

    def _complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        if missing := [name for name in self.reads if name not in fields]:
            raise Refused(
                f"problem: the plan reads {_listed(self.reads)}; missing: {_listed(missing)}",
                code="missing_fields",
                param="problem",
            )
        return dict(fields)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
