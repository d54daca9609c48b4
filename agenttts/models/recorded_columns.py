"""The columns of a table of recorded draws (CSV or Parquet, CSV also gzipped; one row per draw) and what each means.

The one place that describes them: reading takes its names from here, and `agenttts record import --help` its text.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ALIASES", "COLUMNS", "KNOWN", "NEEDED", "Column", "columns_text"]


class Column(NamedTuple):
    """One column."""

    name: str
    meaning: str
    needed: bool = False
    other_name: str | None = None
    """Accepted in place of `name`."""


COLUMNS = (
    Column("stage", "name of the stage that the draw was made at", needed=True),
    Column("model", "name of the model that made it", needed=True),
    Column("problem_id", "the problem it was made for", needed=True, other_name="example_id"),
    Column("sample_index", "number of the draw: 0, 1, ... per stage, model and problem", needed=True),
    Column("text", "the completion; it or `answer` is needed"),
    Column("answer", "the parsed answer, empty where there was none; stands in for a text"),
    Column(
        "prompt", "contents of the messages, joined by newlines; where given, only this prompt has the draw"
    ),
    Column("prefill_tokens", "tokens of the prompt, for costs; empty: unknown", other_name="prompt_tokens"),
    Column("decode_tokens", "tokens written, for costs; empty: unknown", other_name="completion_tokens"),
    Column("tokens_estimated", "1: the token counts are estimates; 0: they were counted"),
    Column("score", "what the draw was worth, from 0 to 1; empty: not scored"),
    Column("variant", "tells recordings of one model apart: searched as model@variant"),
    Column("parent_sample_index", "number of the draw of this problem that the draw goes on from"),
    Column("model_params_b", "parameters of the model in billions, for FLOPs"),
    Column("split", "`search` (also `train`, `dev`) or `test`, by problem"),
)
ALIASES = {column.other_name: column.name for column in COLUMNS if column.other_name is not None}
NEEDED = tuple(column.name for column in COLUMNS if column.needed)
KNOWN = tuple(column.name for column in COLUMNS)


def columns_text(width: int = 78) -> str:
    """Return the columns and their meanings as lines of at most `width` characters."""
    from textwrap import wrap

    left = max(map(len, KNOWN)) + 2
    lines: list[str] = []
    for column in COLUMNS:
        also = f" (also named {column.other_name})" if column.other_name is not None else ""
        first, *rest = wrap(f"{'needed: ' if column.needed else ''}{column.meaning}{also}", width - left)
        lines += [column.name.ljust(left) + first, *(" " * left + line for line in rest)]
    return "\n".join(lines)
