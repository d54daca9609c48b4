"""The text of a task file for what was found and chosen, with comments that say why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.starting.columns import Columns
from agenttts.starting.kinds import Kind
from agenttts.starting.stages import instruction
from agenttts.starting.writing import block, comment, flow, printable, reference, scalar

__all__ = ["BudgetChoice", "Draft", "task_text"]

TINY_TOKENS = {"max_tokens": 64, "decode_tokens": 30}
"""What fits the tiny models: they write one line and no thoughts."""
WRITTEN_TOKENS = 512
EARLIER_TOKENS = 200
"""Expected length of what an earlier stage writes."""


@dataclass(frozen=True)
class BudgetChoice:
    """The default budget."""

    unit: Unit
    amount: float
    why: str


@dataclass(frozen=True)
class Draft:
    """All that a new task is made of."""

    name: str
    data_path: str
    """Relative to the task file."""
    data_note: str
    """Where the data came from and how many rows there are."""
    fields: tuple[str, ...]
    columns: Columns
    kind: Kind
    stages: tuple[str, ...]
    models: tuple[str, ...]
    cards: Mapping[str, ModelCard]
    """Cards that the task file holds itself, by name."""
    model_notes: tuple[str, ...]
    """What is to be known of the models, one remark each."""
    only_tiny: bool
    """Only tiny models are asked: they read no instructions."""
    n_search: int


def task_text(draft: Draft, budget: BudgetChoice) -> str:
    """Return the whole file."""
    parts = [
        _head(draft),
        _data(draft),
        _splits(draft),
        _models(draft),
        _stages(draft),
        _score(draft),
        _budget(budget),
    ]
    return "\n".join(part for part in parts if part).rstrip("\n") + "\n"


def _head(draft: Draft) -> str:
    return (
        "# Written by `agenttts init`. Change what you like, then let every mistake be told, with its line, and see what\n"
        "# a search would cost, before anything is spent:   agenttts check FOLDER\n"
        "# Then search for the best allocation:             agenttts optimize FOLDER\n"
        f"format: 1\nname: {scalar(draft.name)}\n"
    )


def _data(draft: Draft) -> str:
    columns = draft.columns
    lines = [comment(draft.data_note), "data:", f"  path: {scalar(draft.data_path)}"]
    if columns.id is not None:
        lines += [f"  id: {scalar(columns.id.field)}   # tells problems apart ({columns.id.why})"]
    else:
        lines += [
            "  # No field tells every row apart, so rows are told apart by their contents; else: id: FIELD"
        ]
    if draft.kind.made:
        lines += [
            "  fields:                     # made of the fields of the file before anything else sees a row"
        ]
        lines += [f"    {scalar(name)}: {flow(made)}" for name, made in draft.kind.made.items()]
    return "\n".join(lines) + "\n"


def _splits(draft: Draft) -> str:
    return (
        "# Search problems are what allocations are compared on. All others are test problems: they stay sealed until\n"
        "# the end, so that the score that is reported was not chosen for its luck.\n"
        f"splits:\n  seed: 0\n  search: {{n: {draft.n_search}}}\n"
    )


def _models(draft: Draft) -> str:
    lines = [comment(note) for note in draft.model_notes]
    if draft.cards:
        lines.append("models:")
        for name, card in draft.cards.items():
            lines.append(f"  {scalar(name)}:")
            lines += [f"    {key}: {flow(value)}" for key, value in _card(card).items()]
            if card.max_n == 1:
                lines.append(
                    "    # max_n: 16            # where the endpoint grants n=: samples that one request asks for"
                )
            if card.parameters is None:
                lines.append(
                    "    # parameters: 7.6e+9   # the model's size: with it a budget may be in GFLOPs"
                )
    return "\n".join(lines) + "\n" if lines else ""


def _card(card: ModelCard) -> dict[str, Any]:
    written = card.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return {"source": card.source, **{key: value for key, value in written.items() if value is not None}}


def _stages(draft: Draft) -> str:
    made = "# What solves a problem, step by step. Of each stage the search chooses model, number of samples and way.\nstages:\n"
    return made + "\n".join(_stage(draft, index) for index in range(len(draft.stages)))


def _stage(draft: Draft, index: int) -> str:
    name, earlier, is_last = draft.stages[index], draft.stages[:index], index == len(draft.stages) - 1
    kind = draft.kind
    lines = [f"  {name}:"]
    if earlier:
        lines.append(f"    needs: {flow(list(earlier))}")
    lines += ["    prompt:", f"      user: {block(_prompt(draft, index), 8)}"]
    lines.append(f"    models: {flow(list(draft.models))}")
    limit, expected = _lengths(draft, is_last=is_last)
    select = kind.select if is_last else ("fusion", "llm_select")
    most = kind.most_samples if is_last else min(4, kind.most_samples)
    lines += [
        f"    n_samples: {{max: {most}}}          # 1, 2, 4, ... samples",
        f"    sampling: {{temperature: 0.8, max_tokens: {limit}}}",
        f"    lengths: {{decode_tokens: {expected}}}   # a guess for the quote; learnt from the first draws",
        f"    parse: {flow(kind.parse) if is_last else 'text'}",
        "    select:                    # ways from several samples to one answer",
        *(f"      - {flow(way)}" for way in select),
    ]
    return "\n".join(lines) + "\n"


def _lengths(draft: Draft, *, is_last: bool) -> tuple[int, int]:
    if draft.only_tiny:
        return TINY_TOKENS["max_tokens"], TINY_TOKENS["decode_tokens"]
    if is_last:
        return draft.kind.max_tokens, draft.kind.decode_tokens
    return WRITTEN_TOKENS, EARLIER_TOKENS


def _prompt(draft: Draft, index: int) -> str:
    question = _shown_field(draft.columns.question.field, draft.fields)
    earlier, is_last = draft.stages[:index], index == len(draft.stages) - 1
    if draft.only_tiny:  # they know `translate: ...` and `solve: ...`, and read no other words
        return f"{{{{ stages.{earlier[-1]}.answer }}}}" if earlier else question
    parts = [*_contexts(draft), question]
    if draft.kind.options is not None:
        parts.append(draft.kind.options.template.rstrip("\n"))
    parts += [f"What was written before ({name}):\n{{{{ stages.{name}.answer }}}}" for name in earlier]
    parts.append(instruction(draft.stages[index], is_last=is_last))
    if is_last:
        parts[-1] += "\n" + _literal(draft.kind.ask)
    return "\n\n".join(parts)


def _contexts(draft: Draft) -> Iterator[str]:
    for name in draft.columns.contexts:
        yield _shown_field(name, draft.fields)


def _shown_field(path: str, fields: Sequence[str]) -> str:
    return f"{{{{ {reference(path, fields)} }}}}"


def _literal(text: str) -> str:
    """Return a text that a template writes as it stands."""
    if "{" not in text.replace("\\boxed{}", "") and printable(text) == text:
        return text
    quoted = "".join(
        sign if sign.isalnum() or sign in " .,:;-_()`" else f"\\U{ord(sign):08x}" for sign in text
    )
    return f'{{{{ "{quoted}" }}}}'


def _score(draft: Draft) -> str:
    kind = draft.kind
    lines = [
        comment(
            f"What is made as large as possible: the score of the last stage's answer. {kind.why[:1].upper()}{kind.why[1:]}."
        ),
        "score:",
        f"  verifier: {flow(kind.verifier)}",
    ]
    if kind.gold is not None:
        lines.append(f"  gold: {scalar(kind.gold)}")
    if kind.f1:
        lines += [
            "measures:                      # told beside the score; nothing is searched by it",
            f"  f1: {{verifier: token_f1, gold: {scalar(kind.gold)}}}",
        ]
    return "\n".join(lines) + "\n"


def _budget(budget: BudgetChoice) -> str:
    return "\n".join(
        [
            comment(f"The most that one problem may cost when the plan is used. {budget.why}"),
            "budget:",
            f"  unit: {budget.unit.value}",
            f"  default: {budget.amount:.6g}",
        ]
    )
