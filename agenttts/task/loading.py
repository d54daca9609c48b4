"""From a task file to a checked `Task`: everything that is read, and every check, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agenttts.budgets.cost import Unit
from agenttts.budgets.loading import CardBook, card_mistakes, load_cards, with_folder
from agenttts.errors import Mistake, TaskFileError
from agenttts.pipeline.base import Problem
from agenttts.task.checks import Setting, check_cards, check_gold, check_gold_fields, check_names
from agenttts.task.data import DataFileError, Table, id_fields, read_sources
from agenttts.task.drafts import Draft
from agenttts.task.naming import named_cards
from agenttts.task.reading import Document, missing_file, nearest, read_document, read_text
from agenttts.task.schema import (
    PromptBlock,
    SelectBlock,
    StageBlock,
    StageScoreBlock,
    TaskFile,
    VerifierBlock,
)
from agenttts.task.sharing import queries_per_context, sharing_faults
from agenttts.task.splits import Complaint, Parts, divide
from agenttts.task.task import Task
from agenttts.task.verifier_cards import with_cards
from agenttts.task.way_faults import continuing_faults
from agenttts.task.wording import validated

__all__ = ["load_task"]


def load_task(
    path: Path,
    *,
    trust: bool,
    served_by: tuple[str | None, str | None],
    n_search: int | None,
    unit: Unit | None,
) -> Task:
    """Read and check one task file; see `Task.load`.

    Args:
        path: The task file.
        trust: Allow its own Python code.
        served_by: Endpoint and source in place of the cards'; `None`: the cards'.
        n_search: In place of `splits.search.n`; `None`: what stands there.
        unit: That cards must be able to be billed in; `None`: the one that the file names, if it does.

    Raises:
        TaskFileError: Holds every mistake in the task file, its data and the card files.
    """
    named = with_cards(read_document(path))
    document = named.document
    folder = path.resolve().parent
    file, data, mistakes = validated(document, TaskFile)
    mistakes = named.mistakes + named.still_told(mistakes)
    draft = Draft.of(data)
    mistakes += card_mistakes(document, data.get("models"))
    book, more = _book(draft, folder)
    mistakes += more
    tables, more = _read_data(document, draft, folder)
    mistakes += more
    parts, more = _divide(document, draft, tables, n_search)
    mistakes += more
    setting = Setting(
        document,
        draft,
        folder,
        None if book is None else {*book, *draft.card_names},
        _fields(tables),
        {name: card.judges for name, card in (book or {}).items() if card.judges is not None},
    )
    mistakes += check_names(setting)
    mistakes += check_gold(setting, parts) if parts else check_gold_fields(setting, _rows(tables))
    for name in draft.stages:
        problems = parts.search if parts else ()
        mistakes += sharing_faults(document, name, draft.stages, setting.fields, problems, folder)
    cards = named_cards(draft, book, served_by) if book else {}
    mistakes += continuing_faults(document, draft, cards)
    used_unit = unit or (draft.budget.unit if draft.budget else None)
    if used_unit is not None and book is not None:
        mistakes += check_cards(document, cards, book.origins, used_unit)
    mistakes += _planner_mistakes(document, file, book)
    if mistakes or file is None or parts is None or tables is None or book is None:
        raise TaskFileError(_sorted(document, mistakes))
    return Task(
        file=_resolved(file, folder, n_search, parts),
        folder=folder,
        cards=cards,
        search=parts.search,
        n_test=len(parts.test),
        trusted=trust,
        card_files={name: book.origins[name] for name in cards if name in book.origins},
        data_sha256=(tables[0].sha256, tables[1].sha256),
        spare_cards={name: book[name] for name in draft.cards if name not in cards},
    )


def _sorted(document: Document, mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Return each mistake once, those of the task file first, by line."""
    unique = list(dict.fromkeys(mistakes))
    return sorted(
        unique, key=lambda mistake: (mistake.file != document.file, mistake.file, mistake.line or 0)
    )


def _book(draft: Draft, folder: Path) -> tuple[CardBook | None, list[Mistake]]:
    try:
        return load_cards({name: with_folder(card, folder) for name, card in draft.cards.items()}), []
    except TaskFileError as error:
        return None, list(error.mistakes)


def _planner_mistakes(document: Document, file: TaskFile | None, book: CardBook | None) -> list[Mistake]:
    if file is None or file.planner is None or book is None or file.planner.model in book:
        return []
    hint = nearest(file.planner.model, book, listed="Cards")
    return [document.mistake(("planner",), f"there is no model card `{file.planner.model}`.", hint)]


def _read_data(
    document: Document, draft: Draft, folder: Path
) -> tuple[tuple[Table, Table] | None, list[Mistake]]:
    """Read both sources; a file that is not there is told at its key."""
    sources = draft.sources
    if draft.data is None or sources is None:
        return None, []
    places = (
        (("data",), draft.data),
        *((("splits", name, "data"), getattr(sources, name).data) for name in ("search", "test")),
    )
    mistakes = [
        document.mistake((*at, "path"), f"no such file: {block.path}.", missing_file(folder / block.path))
        for at, block in places
        if block is not None
        and block.path is not None
        and not (folder / Path(block.path).expanduser()).exists()
    ]
    if mistakes:
        return None, mistakes
    try:
        return read_sources(draft.data, sources, folder), []
    except DataFileError as error:
        return None, list(error.mistakes)


def _rows(tables: tuple[Table, Table] | None) -> list[Mapping[str, Any]]:
    return [row.fields for table in tables or () for row in table.rows]


def _fields(tables: tuple[Table, Table] | None) -> list[str] | None:
    return None if tables is None else list(dict.fromkeys(name for row in _rows(tables) for name in row))


def _divide(
    document: Document, draft: Draft, tables: tuple[Table, Table] | None, n_search: int | None
) -> tuple[Parts | None, list[Mistake]]:
    splits = draft.splits or draft.sources
    if tables is None or draft.data is None or splits is None:
        return None, []
    parts, complaints = divide(splits, *tables, id_fields(draft.data, splits), n_search)
    if draft.splits is None:  # what is wrong with the rows is told; how many of them are left is not known
        complaints = [complaint for complaint in complaints if not complaint.counts]
    told = [_placed(document, complaint) for complaint in complaints]
    return None if complaints or draft.splits is None else parts, told


def _placed(document: Document, complaint: Complaint) -> Mistake:
    return complaint.mistake or document.mistake(complaint.key, complaint.message, complaint.hint)


def _resolved(file: TaskFile, folder: Path, n_search: int | None, parts: Parts) -> TaskFile:
    """Return the file with its prompts in it, without cards, and with the numbers that the data or options tell."""
    splits = file.splits
    if n_search is not None:
        splits = splits.model_copy(update={"search": splits.search.model_copy(update={"n": n_search})})
    stages = {
        name: _counted(_resolved_stage(stage, folder), parts.search) for name, stage in file.stages.items()
    }
    score = _resolved_score(file.score, folder)
    measures = {name: _resolved_score(one, folder) for name, one in file.measures.items()}
    return file.model_copy(
        update={"stages": stages, "splits": splits, "models": {}, "score": score, "measures": measures}
    )


def _counted(stage: StageBlock, problems: Sequence[Problem]) -> StageBlock:
    """Return a stage that problems share with their number per context, where that is left to the data."""
    shared = stage.shared_by
    if shared is None or shared.queries is not None:
        return stage
    known = shared.model_copy(update={"queries": queries_per_context(problems, shared.field)})
    return stage.model_copy(update={"shared_by": known})


def _resolved_stage(stage: StageBlock, folder: Path) -> StageBlock:
    if not stage.asks_model:
        return stage
    select = tuple(_resolved_select(block, folder) for block in stage.select)
    return stage.model_copy(
        update={
            "prompt": _resolved_prompt(stage.prompt, folder),
            "select": select,
            "score": None if stage.score is None else _resolved_score(stage.score, folder),
        }
    )


def _resolved_select(block: SelectBlock, folder: Path) -> SelectBlock:
    update: dict[str, object] = {"prompt": _resolved_prompt(block.prompt, folder)}
    if block.verifier is not None:
        update["verifier"] = _resolved_verifier(block.verifier, folder)
    if block.critic is not None:
        inner = block.critic.verifier
        update["critic"] = block.critic.model_copy(
            update={
                "prompt": _resolved_prompt(block.critic.prompt, folder),
                "verifier": None if inner is None else _resolved_verifier(inner, folder),
            }
        )
    return block.model_copy(update=update)


def _resolved_score(block: StageScoreBlock, folder: Path) -> StageScoreBlock:
    return block.model_copy(update={"verifier": _resolved_verifier(block.verifier, folder)})


def _resolved_verifier(block: VerifierBlock, folder: Path) -> VerifierBlock:
    return block.model_copy(update={"prompt": _resolved_prompt(block.prompt, folder)})


def _resolved_prompt(prompt: PromptBlock | None, folder: Path) -> PromptBlock | None:
    if prompt is None:
        return None
    system, user = prompt.system, prompt.user
    if prompt.system_file is not None:
        system = read_text(folder / prompt.system_file)
    if prompt.user_file is not None:
        user = read_text(folder / prompt.user_file)
    return PromptBlock(system=system, user=user)
