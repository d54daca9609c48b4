"""`agenttts init`: looks at a file, tells what it takes its fields for and why, and writes a task that runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, print_json, say, say_aside
from agenttts._cli.dialogue import Dialogue
from agenttts._cli.words import plural
from agenttts.errors import InputError, NotServedError

if TYPE_CHECKING:
    from agenttts.budgets.loading import CardBook
    from agenttts.starting.columns import Columns
    from agenttts.starting.kinds import Kind
    from agenttts.starting.making import Made
    from agenttts.starting.served import Choice
    from agenttts.starting.sheet import Sheet

__all__ = ["InitRequest", "run_init"]


@dataclass(frozen=True)
class InitRequest:
    """What the user gave; `None` is asked on a terminal, and guessed elsewhere."""

    file: Path | None = None
    name: str | None = None
    question: str | None = None
    gold: str | None = None
    id_field: str | None = None
    answer: str | None = None
    models: str | None = None
    stages: str | None = None
    endpoint: str | None = None
    api_key_env: str | None = None
    parameters: Sequence[str] = ()
    out: Path | None = None
    copy: bool = False
    force: bool = False
    yes: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class _Told:
    """What is reported in the end."""

    sheet: Sheet
    columns: Columns
    kind: Kind
    choice: Choice
    made: Made
    trial: bool
    """No model was named: the tiny family stands in."""
    remarks: list[str] = field(default_factory=list)


def run_init(request: InitRequest) -> None:
    """Write a task and tell what is in it."""
    from agenttts._cli.proving import prove
    from agenttts.budgets.loading import load_cards
    from agenttts.starting.making import Wish, make_task
    from agenttts.starting.stages import check_stages

    dialogue = Dialogue.open(silent=request.yes or request.as_json)
    sheet = _sheet(request, dialogue)
    columns = _columns(request, sheet, dialogue)
    kind = _kind(request, sheet, columns, dialogue)
    book = load_cards()
    choice, trial = _models(request, book, dialogue)
    stages = _split(request.stages or dialogue.ask("Stages, in order, e.g. plan,solve", "solve"))
    check_stages(stages)
    name, out = _place(request, sheet, dialogue)
    wish = Wish(sheet, columns, kind, choice, book, stages, name, out, request.copy, request.force)
    made = make_task(wish, prove)
    remarks = [*_remarks(name, out), *_few(made.n_search)]
    told = _Told(sheet, columns, kind, choice, made, trial, remarks)
    if request.as_json:
        print_json(_as_json(told))
    else:
        say(_as_text(told))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _sheet(request: InitRequest, dialogue: Dialogue) -> Sheet:
    from agenttts.starting.example import example_sheet
    from agenttts.starting.sheet import read_sheet

    file = request.file
    if file is None and dialogue.speaks:
        say_aside("A task needs problems with their right answers: a JSONL, CSV, Parquet or JSON file.")
        given = dialogue.ask("File with your problems (empty: write an example to replace)", "")
        file = Path(given) if given else None
    if file is not None:
        return read_sheet(file)
    return example_sheet(request.question or "question", request.gold or "answer")


def _columns(request: InitRequest, sheet: Sheet, dialogue: Dialogue) -> Columns:
    from agenttts.starting.columns import guess_columns

    def guessed(question: str | None, gold: str | None) -> Columns:
        return guess_columns(
            sheet.rows, sheet.fields, question=question, gold=gold, id_field=request.id_field
        )

    if not dialogue.speaks or sheet.path is None:
        return guessed(request.question, request.gold)
    say_aside(
        fold(f"{plural(len(sheet.rows), 'row')} with the fields {', '.join(map(clean, sheet.fields))}.")
    )
    question, gold = request.question, request.gold
    try:
        found = guessed(question, gold)
    except InputError as error:
        say_aside(clean(error, limit=1000))
        found = None
    if question is None:
        question = dialogue.ask("Field with the question", found.question.field if found else "")
    if gold is None:
        judged = (found.tests or found.gold) if found else None
        gold = dialogue.ask("Field with the right answer", judged.field if judged else "")
    same = found is not None and question == found.question.field and gold == _judged(found)
    return found if same and found is not None else guessed(question or None, gold or None)


def _judged(columns: Columns) -> str:
    """Return the field by which answers are judged."""
    judged = columns.tests or columns.gold
    return judged.field if judged is not None else ""


def _kind(request: InitRequest, sheet: Sheet, columns: Columns, dialogue: Dialogue) -> Kind:
    from agenttts.starting.kinds import KINDS, guess_kind

    kind = guess_kind(sheet.rows, columns, request.answer)
    if not dialogue.speaks or request.answer is not None or sheet.path is None:
        return kind
    say_aside(fold(f"The answers look like: {kind.name} ({clean(kind.why)})."))
    wanted = dialogue.ask(f"Kind of answer ({', '.join(KINDS)})", kind.name)
    return kind if wanted == kind.name else guess_kind(sheet.rows, columns, wanted)


# --- models


def _models(request: InitRequest, book: CardBook, dialogue: Dialogue) -> tuple[Choice, bool]:
    """Return the models to choose from, and whether nobody named any."""
    from agenttts.starting.served import TRIAL_MODELS, known_models

    endpoint = request.endpoint
    if endpoint is None and request.models is None:
        endpoint = dialogue.ask("Base URL of an OpenAI-compatible endpoint (empty: none)", "") or None
    if endpoint is not None:
        return _served(replace(request, endpoint=endpoint), book, endpoint, dialogue), False
    given = request.models or dialogue.ask("Model cards, e.g. from `agenttts models`", ",".join(TRIAL_MODELS))
    names = _split(given) if given else TRIAL_MODELS
    choice = known_models(names, book)
    trial = set(choice.models) <= set(TRIAL_MODELS)
    return replace(choice, notes=(TRIAL_NOTE,)) if trial else choice, trial and request.models is None


TRIAL_NOTE = (
    "The tiny models run in this process and are here for trying only: they solve their own problems (see "
    "tasks/tiny) and nothing else. Name your own with `agenttts init --models` or `--endpoint URL`."
)


def _served(request: InitRequest, book: CardBook, endpoint: str, dialogue: Dialogue) -> Choice:
    from agenttts.starting.served import MOST_MODELS, served_cards

    served = _listed(endpoint, request)
    wanted = _split(request.models or "")
    if served is not None and not wanted and dialogue.speaks and len(served) > 1:
        say_aside(fold(f"It serves {', '.join(map(clean, served[:40]))}."))
        wanted = _split(dialogue.ask(f"Models to choose from, at most {MOST_MODELS} (empty: all)", ""))
    sizes = _sizes(request.parameters)

    def choose() -> Choice:
        return served_cards(served, wanted, book, endpoint, api_key_env=request.api_key_env, parameters=sizes)

    choice = choose()
    for name, card in choice.cards.items():
        if card.parameters is None and dialogue.speaks:
            given = dialogue.ask(f"Parameters of {clean(name)}, e.g. 7e9 (empty: not known)", "")
            sizes |= _sizes([f"{card.served_as}={given}"]) if given else {}
    return choose()


def _listed(endpoint: str, request: InitRequest) -> tuple[str, ...] | None:
    """Return what the endpoint serves; `None` where it has no list and models are named.

    Raises:
        InputError: Not an address.
        ProviderError: The endpoint cannot be asked.
    """
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.loading import override_endpoint
    from agenttts.models.listing import listed_models
    from agenttts.models.openai_client import api_key

    card = override_endpoint(
        ModelCard(name="of the endpoint", source="openai", api_key_env=request.api_key_env), endpoint
    )
    try:
        return asyncio.run(listed_models(endpoint, api_key(card)))
    except NotServedError:
        if request.models:
            return None
        raise


def _sizes(given: Sequence[str]) -> dict[str, float]:
    """Read `NAME=7e9`."""
    sizes = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            size = float(number)
        except ValueError:
            size = 0.0
        if not name or not 0 < size < float("inf"):
            raise InputError(f"--parameters {text}: expected NAME=NUMBER, e.g. my-model=7e9")
        sizes[name] = size
    return sizes


# --- place


def _place(request: InitRequest, sheet: Sheet, dialogue: Dialogue) -> tuple[str, Path]:
    import re

    from agenttts.starting.making import task_name

    usual = request.out.name if request.out is not None and re.match(r"[A-Za-z0-9]", request.out.name) else ""
    name = request.name or dialogue.ask("Name of the task", task_name(Path(usual) if usual else sheet.path))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(
            f"--name {name}: expected letters, digits, `_`, `.` and `-`, e.g. {task_name(Path(name))}"
        )
    return name, request.out if request.out is not None else Path("tasks") / name


def _remarks(name: str, out: Path) -> list[str]:
    from agenttts.catalogue import catalogue_folder

    hidden = catalogue_folder() / "tasks" / name
    if hidden.is_dir() and hidden.resolve() != out.resolve() and out == Path("tasks") / name:
        return [f"Here the name {name} now means this task, and no longer the catalogue's."]
    return []


FEW_SEARCH = 30
"""Search problems below which it is said what they can tell apart."""


def _few(n_search: int) -> list[str]:
    """Return what few search problems mean: the interval of a mean of scores 0 and 1, at its widest."""
    if n_search >= FEW_SEARCH:
        return []
    within, usual = (1.96 * (0.25 / n) ** 0.5 for n in (n_search, 100))
    return [
        f"Few problems: {plural(n_search, 'search problem')} can tell a score only to within {within:.2f} either way "
        f"(95% confidence, for scores around 0.5), so which of two close allocations wins is chance. "
        f"100 tell it to within {usual:.2f}: add rows if you can."
    ]


# --- what is told


def _as_text(told: _Told) -> str:
    made, columns, kind = told.made, told.columns, told.kind
    rows: list[tuple[str, str]] = []
    rows.append(("problems", _problems_text(told)))
    rows.append(("question", f"{columns.question.field}: {columns.question.why}"))
    judged = columns.tests or columns.gold
    if judged is not None:
        rows.append(("answer", f"{judged.field}: {judged.why}"))
    rows.append(
        (
            "id",
            f"{columns.id.field}: {columns.id.why}"
            if columns.id
            else "none: rows are told apart by their contents",
        )
    )
    rows.append(("kind", f"{kind.name}: {kind.why}"))
    rows.append(("parsed by", _word(kind.parse, "rule")))
    rows.append(("scored by", _word(kind.verifier, "kind")))
    rows.append(("chosen by", ", ".join(_word(way, "kind") for way in kind.select)))
    rows.append(("models", ", ".join(told.choice.models)))
    rows.append(("budget", f"{made.budget.amount:.6g} {made.budget.unit.label} a problem. {made.budget.why}"))
    verb = "is there already, unchanged" if made.unchanged else "written"
    lines = [f"{clean(made.task, limit=1000)} {verb}", ""]
    lines += [fold(clean(text, limit=1500), first=f"{label:<10}") for label, text in rows]
    notes = [*(told.choice.notes if told.trial else ()), *told.remarks]
    lines += ["", *(fold(clean(note, limit=1000)) for note in notes)] if notes else []
    return "\n".join([*lines, "", "Next:", *(f"  {command}" for command in _next(made))])


def _problems_text(told: _Told) -> str:
    made = told.made
    source = "copied to" if made.copied else "read from"
    text = f"{made.n_problems:,} {source} {made.data}; {made.n_search:,} to search with, {made.n_test:,} sealed for the test"
    if made.n_left_out:
        text += f"; {made.n_left_out:,} rows left out{made.why_left_out}"
    if told.sheet.path is None:
        text += ". They are an example: put your own in their place, a JSON object on each line"
    return text


def _word(block: Mapping[str, Any] | str, key: str) -> str:
    return block if isinstance(block, str) else str(block[key])


def _next(made: Made) -> list[str]:
    import shlex

    folder = shlex.quote(clean(made.task.parent, limit=1000))
    return [f"agenttts {command} {folder}" for command in ("check", "doctor", "optimize")]


def _as_json(told: _Told) -> dict[str, Any]:
    made, columns, kind = told.made, told.columns, told.kind

    def field_of(guess: Any) -> dict[str, str] | None:
        return None if guess is None else {"field": guess.field, "why": guess.why}

    return {
        "task": str(made.task),
        "data": str(made.data),
        "copied": made.copied,
        "unchanged": made.unchanged,
        "n_problems": made.n_problems,
        "n_left_out": made.n_left_out,
        "n_search": made.n_search,
        "n_test": made.n_test,
        "id": field_of(columns.id),
        "question": field_of(columns.question),
        "gold": field_of(columns.gold),
        "tests": field_of(columns.tests),
        "kind": kind.name,
        "why": kind.why,
        "models": list(told.choice.models),
        "budget": {"amount": made.budget.amount, "unit": made.budget.unit.value, "why": made.budget.why},
        "notes": [*told.choice.notes, *told.remarks],
        "next": _next(made),
    }
