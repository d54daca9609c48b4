"""Fields of problems that are made of others: the `fields` of a task's `data`, applied to every row of a source.

Made before anything else sees a row, so that ids, `where`, prompts and gold may all name them. Pure: rows in, rows out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agenttts.errors import Mistake
from agenttts.task.data import MOST_MISTAKES, DataFileError, Row, Table
from agenttts.task.reading import nearest
from agenttts.task.schema import FieldBlock
from agenttts.task.splits import MISSING, in_file, lookup

if TYPE_CHECKING:
    from agenttts.pipeline.parsing import Parser

__all__ = ["FunctionOf", "with_fields"]

FunctionOf = Callable[[str], Callable[[str], Any]]
"""From `file.py:name` or `module:name` to the function."""

LONGEST_SHOWN = 60
"""Characters of a value that a message shows."""


def with_fields(
    table: Table, fields: Mapping[str, FieldBlock], function_of: FunctionOf | None = None
) -> Table:
    """Return a table whose rows have these fields too, each made of the row as the source has it.

    Args:
        table: Rows of the source.
        fields: Name of each field, and what it is made of.
        function_of: Looks up what `parse: {rule: function}` names; `None`: no field has that rule.

    Raises:
        DataFileError: Fields that could not be made, with the file, the line (of a data set: the row) and the name; up
            to 20. A column that no row has is told once.
    """
    if not fields:
        return table
    absent = [_no_column(table, name, block) for name, block in fields.items() if _is_absent(table, block)]
    if absent:
        raise DataFileError(absent)
    parsers = {name: _parser(block, function_of) for name, block in fields.items()}
    rows: list[Row] = []
    mistakes: list[Mistake] = []
    for row in table.rows:
        made: dict[str, Any] = {}
        for name, block in fields.items():
            value, fault = _made(row, block, parsers[name])
            if fault:
                mistakes.append(in_file(table, row, name, fault))
            made[name] = value
        if len(mistakes) >= MOST_MISTAKES:
            break
        rows.append(replace(row, fields={**row.fields, **made}))
    if mistakes:
        raise DataFileError(mistakes[:MOST_MISTAKES])
    return replace(table, rows=tuple(rows))


def _is_absent(table: Table, block: FieldBlock) -> bool:
    return bool(table.rows) and all(lookup(row.fields, block.source) is MISSING for row in table.rows)


def _no_column(table: Table, name: str, block: FieldBlock) -> Mistake:
    columns = dict.fromkeys(column for row in table.rows for column in row.fields)
    message = f"no row has the column `{block.source}`, which the field `{name}` is made of."
    return Mistake(table.name, None, "", message, nearest(block.source, columns, listed="Columns"))


def _parser(block: FieldBlock, function_of: FunctionOf | None) -> Parser | None:
    if block.parse is None:
        return None
    from agenttts.pipeline.parsing import (
        make_parser,
    )  # with the modules of verifiers; most tasks make no fields

    named = block.parse.function
    return make_parser(block.parse, function_of(named) if named is not None and function_of else None)


def _made(row: Row, block: FieldBlock, parser: Parser | None) -> tuple[Any, str]:
    """Return the value of a field in a row, and why there is none."""
    value = lookup(row.fields, block.source)
    if value is MISSING or value is None:
        return None, f"this row has no `{block.source}`."
    if parser is None:
        return value, ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    parsed = parser.parse(text)
    if parsed.answer is not None:
        return parsed.answer, ""
    cut = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
    return None, f"cannot be made of `{block.source}`: {parsed.note or 'nothing found'} in {cut!r}."
