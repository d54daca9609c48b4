"""A draft of a task for recorded draws that come without one: pure, draws in, YAML text out.

It offers what can be replayed truthfully and says what it leaves out: stages whose draws go on from other draws, and
models that lack draws, token counts or scores.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.models.recorded_draws import Cell, Draw, DrawTable, chains
from agenttts.task.importing import Golds

__all__ = ["Draft", "drafted", "only_answers"]

MOST_NAMED = 4
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SPLITS = ("search", "test")
FEWEST_PROBLEMS = 2
"""One to search on, one to test on."""
SAMPLES_OF_LARGEST = 2
"""The default budget pays for so many samples of the dearest model at every stage."""


@dataclass(frozen=True)
class Draft:
    """A drafted task file."""

    text: str | None
    """`None`: there is nothing that a task could replay."""
    problems: frozenset[str]
    """Problems that every stage and model of it holds draws of."""
    warnings: tuple[str, ...]


def only_answers(draws: Sequence[Draw]) -> list[Draw]:
    """Let recorded answers stand for the texts, at stages that have any: a draft knows no rule to parse the texts."""
    answered = {draw.stage for draw in draws if draw.answer}
    everywhere = all(draw.stage in answered for draw in draws)
    return [
        draw._replace(text=None if everywhere else draw.answer) if draw.stage in answered else draw
        for draw in draws
    ]


def drafted(
    draws: Sequence[Draw],
    found: Sequence[Cell],
    right: Golds,
    files: tuple[str, str],
    out: Path,
    tables: Sequence[DrawTable],
) -> Draft:
    """Return a task file for draws.

    Args:
        draws: What was taken of the tables.
        found: The same by stage and model.
        right: Gold answers, where they can be read off the scores.
        files: File names of the draws and of the problems.
        out: Their folder; the task is named after it.
        tables: Where the draws come from, for the head of the file.
    """
    kept, warnings = _kept(found, chains(draws), bool(right.why_not))
    held = _problems_of_all(draws, kept)
    why_not = _why_no_draft(draws, kept, held)
    if why_not:
        return Draft(None, frozenset(), (*warnings, f"no task was drafted: {why_not}"))
    n_left = len({draw.problem_id for draw in draws} - held)
    if n_left:
        warnings.append(f"{n_left:,} problems that a stage or model lacks are left out of the drafted task")
    import yaml

    splits = {draw.split for draw in draws if draw.problem_id in held}
    body = {
        "format": 1,
        "name": re.sub(r"[^A-Za-z0-9_.-]", "-", out.resolve().name).lstrip("_.-") or "recorded",
        "description": "Recorded draws, replayed.",
        "data": {"path": files[1], "id": "id"},
        **({"splits": {s: {"where": {"split": s}} for s in SPLITS}} if set(SPLITS) <= splits else {}),
        **_body(kept, right, files[0], prompted=any(draw.prompt for draw in draws)),
    }
    text = str(yaml.safe_dump(body, sort_keys=False, width=100))
    return Draft(_head(tables) + text, frozenset(held), tuple(warnings))


def _why_no_draft(draws: Sequence[Draw], kept: Mapping[str, Sequence[Cell]], held: set[str]) -> str:
    if not kept:
        return "nothing is left that could be replayed"
    if len(held) < FEWEST_PROBLEMS:
        return f"{len(held)} problems have draws of every model and stage"
    prompts: dict[tuple[str, str], str | None] = {}
    for draw in draws:
        if prompts.setdefault((draw.stage, draw.problem_id), draw.prompt) != draw.prompt:
            return (
                f"problem {draw.problem_id!r} has several prompts at stage {draw.stage}; write a task whose prompts "
                "render to them, and name it by --task"
            )
    return ""


def _kept(
    found: Sequence[Cell], linked: Collection[str], needs_scores: bool
) -> tuple[dict[str, list[Cell]], list[str]]:
    """Return the stages and models that can be replayed, and why others cannot."""
    kept: dict[str, list[Cell]] = {}
    warnings: list[str] = []
    for stage in dict.fromkeys(cell.stage for cell in found):
        here = [cell for cell in found if cell.stage == stage]
        if stage in linked:
            warnings.append(f"stage {stage} is left out of the drafted task: its draws form chains")
            continue
        if not NAME.fullmatch(stage):
            name = re.sub(r"\W", "_", stage)
            warnings.append(
                f"stage {stage!r} is left out of the drafted task; rename it: --stage {name}={stage}"
            )
            continue
        most = max(cell.n_problems for cell in here)
        unfit: dict[str, list[str]] = {}
        for cell in here:
            why = _why_unfit(cell, most, needs_scores)
            if why:
                unfit.setdefault(why, []).append(cell.model)
            else:
                kept.setdefault(stage, []).append(cell)
        warnings += [_unfit_words(stage, why, models) for why, models in unfit.items()]
    return kept, warnings


def _unfit_words(stage: str, why: str, models: Sequence[str]) -> str:
    names = ", ".join(models[:MOST_NAMED]) + (
        f" and {len(models) - MOST_NAMED} more" if len(models) > MOST_NAMED else ""
    )
    return f"stage {stage} of the drafted task leaves out {names}: {why}"


def _why_unfit(cell: Cell, most: int, needs_scores: bool) -> str:
    if cell.n_problems < most:
        return f"draws of fewer than {most:,} problems"
    if not cell.least:
        return "some problem has no draw 0"
    if cell.n_uncounted:
        return "draws without token counts"
    return "draws without a score" if needs_scores and cell.n_scored < cell.n_draws else ""


def _problems_of_all(draws: Sequence[Draw], kept: Mapping[str, Sequence[Cell]]) -> set[str]:
    held: dict[tuple[str, str], set[str]] = {
        (c.stage, c.model): set() for found in kept.values() for c in found
    }
    for draw in draws:
        if (draw.stage, draw.model) in held:
            held[draw.stage, draw.model].add(draw.problem_id)
    return set.intersection(*held.values()) if held else set()


def _head(tables: Sequence[DrawTable]) -> str:
    sources = "".join(f"#   {t.path.name} (SHA-256 {t.sha256[:16]}...)\n" for t in tables)
    return (
        "# Drafted by `agenttts record import` from recorded draws of\n"
        f"{sources}"
        "# Every figure of this task is one of these recordings. Prompts are place holders: the draws were made by\n"
        "# others. Look over the splits, the numbers of samples and the budget, then: agenttts optimize\n"
    )


def _body(kept: Mapping[str, Sequence[Cell]], right: Golds, table: str, *, prompted: bool) -> dict[str, Any]:
    found = [cell for of_stage in kept.values() for cell in of_stage]
    sized = all(cell.parameters for cell in found)
    names = list(kept)
    final: dict[str, Any] = {"stage": names[-1], "verifier": {"kind": "recorded"}}
    if not right.why_not:
        final = {"stage": names[-1], "verifier": {"kind": "exact", "normalise": False}, "gold": "gold"}
    return {
        "models": {cell.model: _card(cell, table) for cell in found},
        "stages": {
            stage: _stage(stage, names[at - 1 : at] if at else [], of_stage, prompted)
            for at, (stage, of_stage) in enumerate(kept.items())
        },
        "score": final,
        "budget": {"unit": "gflops" if sized else "tokens", "default": _budget(kept, sized)},
    }


def _card(cell: Cell, table: str) -> dict[str, Any]:
    card: dict[str, Any] = {"source": "recorded", "table": table}
    if cell.parameters:
        card |= {"parameters": cell.parameters, "figures_from": "column model_params_b of the recording"}
    return card


def _stage(name: str, needs: list[str], found: Sequence[Cell], prompted: bool) -> dict[str, Any]:
    most = max(cell.least for cell in found)
    votes = any(cell.n_answered for cell in found)
    user = (
        f"{{{{ problem.prompts.{name} }}}}"
        if prompted
        else "Problem {{ problem.id }} (no prompt was recorded)"
    )
    return {
        **({"needs": needs} if needs else {}),
        "prompt": {"user": user},
        "models": [cell.model for cell in found],
        "n_samples": {"min": 1, "max": most} if votes and most > 1 else [1],
        "sampling": {"max_tokens": max(1, max(cell.most_decode_tokens or 1 for cell in found))},
        "lengths": {
            "prefill_tokens": _length(cell.mean_prefill_tokens for cell in found),
            "decode_tokens": _length(cell.mean_decode_tokens for cell in found),
        },
        "parse": "text",
        "select": "majority",
    }


def _length(means: Iterable[float | None]) -> float:
    """Return the mean over models, for the quote; draws teach the lengths of each."""
    known = [mean for mean in means if mean]
    return max(1.0, round(sum(known) / max(1, len(known)), 1))


def _budget(kept: Mapping[str, Sequence[Cell]], sized: bool) -> float:
    """Return two samples of the dearest model at every stage, to two digits."""
    total = sum(max(_cost(cell, sized) for cell in found) for found in kept.values())
    return float(f"{SAMPLES_OF_LARGEST * total:.2g}")


def _cost(cell: Cell, sized: bool) -> float:
    tokens = (cell.mean_prefill_tokens or 0) + (cell.mean_decode_tokens or 0)
    return tokens * (2 * (cell.parameters or 0) / 1e9 if sized else 1)
