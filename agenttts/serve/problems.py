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
from agenttts.pipeline.messages import fields_from_messages, fields_read
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
            Refused: It lacks a field; names the fields that the plan reads.
        """
        fields = self._fields(asked)
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

    def _complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        if missing := [name for name in self.reads if name not in fields]:
            raise Refused(
                f"problem: the plan reads {_listed(self.reads)}; missing: {_listed(missing)}",
                code="missing_fields",
                param="problem",
            )
        return dict(fields)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
