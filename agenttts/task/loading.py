"""From a task file to a checked `Task`: everything that is read, and every check, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from agenttts.budgets.cost import Unit
from agenttts.budgets.loading import CardBook, card_mistakes, load_cards, with_folder
from agenttts.errors import Mistake, TaskFileError
from agenttts.pipeline.base import Problem
from agenttts.task.checks import (
    Setting,
    check_cards,
    check_fields,
    check_gold,
    check_gold_fields,
    check_names,
)
from agenttts.task.drafts import Draft
from agenttts.task.naming import named_cards, only_scoring
from agenttts.task.problems import NOT_READ, ReadProblems, counted, read_problems, with_replacement
from agenttts.task.reading import Document, nearest, read_document, read_text
from agenttts.task.schema import (
    PromptBlock,
    SelectBlock,
    StageBlock,
    StageScoreBlock,
    TaskFile,
    VerifierBlock,
)
from agenttts.task.sharing import queries_per_context, sharing_faults
from agenttts.task.sources import Replacement, SplitName, locate_data
from agenttts.task.splits import Parts
from agenttts.task.task import Task, import_function
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
    data: str | Path | None = None,
    needs: SplitName | None = None,
) -> Task:
    """Read and check one task file; see `Task.load`.

    Args:
        path: The task file.
        trust: Allow its own Python code.
        served_by: Endpoint and source in place of the cards'; `None`: the cards'.
        n_search: In place of `splits.search.n`; `None`: what stands there.
        unit: That cards must be able to be billed in; `None`: the one that the file names, if it does.
        data: File or folder in place of the task's sources, see `agenttts.task.sources.locate_data`.
        needs: The only split that is asked for; `None`: both are.

    Raises:
        TaskFileError: Holds every mistake in the task file, its data and the card files.
        DataError: There is nothing at `data`, or a folder that lacks a file which is needed.
    """
    named = with_cards(read_document(path))
    document = named.document
    folder = path.resolve().parent
    files = None if data is None else locate_data(data, folder, needs)
    file, raw, mistakes = validated(document, TaskFile)
    mistakes = named.mistakes + named.still_told(mistakes)
    draft = Draft.of(raw)
    if files is not None:
        draft = with_replacement(draft, files)
    mistakes += card_mistakes(document, raw.get("models"))
    book, more = _book(draft, folder)
    mistakes += more
    read = _problems(document, draft, folder, file, files, n_search, trust=trust)
    mistakes += read.mistakes
    parts = read.parts
    setting = Setting(
        document,
        draft,
        folder,
        None if book is None else {*book, *draft.card_names},
        read.fields,
        {name: card.judges for name, card in (book or {}).items() if card.judges is not None},
    )
    mistakes += check_names(setting)
    mistakes += check_gold(setting, parts) if parts else check_gold_fields(setting, read.rows)
    for name in draft.stages:
        problems = parts.search if parts else ()
        mistakes += sharing_faults(document, name, draft.stages, setting.fields, problems, folder)
    cards = named_cards(draft, book, served_by) if book else {}
    mistakes += continuing_faults(document, draft, cards)
    used_unit = unit or (draft.budget.unit if draft.budget else None)
    if used_unit is not None and book is not None:
        charged = {name: card for name, card in cards.items() if name not in only_scoring(draft)}
        mistakes += check_cards(document, charged, book.origins, used_unit)
    mistakes += _planner_mistakes(document, file, book)
    if mistakes or file is None or parts is None or book is None:
        raise TaskFileError(_sorted(document, mistakes))
    return Task(
        file=_resolved(_with_files(file, files, parts), folder, n_search, parts),
        folder=folder,
        cards=cards,
        search=parts.search,
        n_test=len(parts.test),
        trusted=trust,
        card_files={name: book.origins[name] for name in cards if name in book.origins},
        data_sha256=read.sha256,
        look_first=() if files is None else (files.folder,),
        spare_cards={name: book[name] for name in draft.cards if name not in cards},
    )


def _problems(
    document: Document,
    draft: Draft,
    folder: Path,
    file: TaskFile | None,
    files: Replacement | None,
    n_search: int | None,
    *,
    trust: bool,
) -> ReadProblems:
    """Read the problems, unless what their fields are made by is wrong already."""
    faults = list(check_fields(Setting(document, draft, folder, None, None), trusted=trust))
    if faults:
        return replace(NOT_READ, mistakes=faults)
    return read_problems(
        document,
        draft,
        folder,
        n_search=n_search,
        files=files,
        file=None if files is None else _for_columns(file, files, folder),
        function_of=lambda reference: import_function(reference, folder),
    )


def _for_columns(file: TaskFile | None, files: Replacement, folder: Path) -> TaskFile | None:
    """Return a task with its prompts in it, to tell which columns it reads; `None` where that cannot be told."""
    if file is None:
        return None
    try:
        stages = {name: _resolved_stage(stage, folder) for name, stage in file.stages.items()}
    except TaskFileError:  # files of prompts that are not there: told at their keys
        return None
    data, splits = files.apply(file.data, file.splits)
    return file.model_copy(update={"stages": stages, "data": data, "splits": splits})


def _with_files(file: TaskFile, files: Replacement | None, parts: Parts) -> TaskFile:
    """Return a task whose data are these files."""
    if files is None:
        return file
    data, splits = files.apply(file.data, file.splits)
    return file.model_copy(update={"data": data, "splits": counted(splits, parts, files)})


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
