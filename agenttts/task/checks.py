"""What types cannot tell about a task file: names that must exist elsewhere, files, templates, patterns, figures.

Every check yields mistakes and raises nothing, so that all of them are told at once. Nothing here runs code of the task.
"""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttts.budgets.cards import TINY_PRM, ModelCard
from agenttts.budgets.cost import NEEDED_ON_CARD, Unit, amount
from agenttts.errors import CardError, Mistake, TaskFileError
from agenttts.task.conditions import condition_faults, scored_fault
from agenttts.task.drafts import Draft, StageDraft
from agenttts.task.naming import named_models, verifier_blocks
from agenttts.task.reading import Document, Loc, missing_file, nearest, read_document, read_text, shown
from agenttts.task.schema import DataBlock, FinalScoreBlock, PromptBlock, StageScoreBlock, VerifierBlock
from agenttts.task.splits import MISSING, Parts, lookup
from agenttts.task.templates import Known, faults
from agenttts.task.verifier_cards import PROMPT_VARIABLES
from agenttts.task.verifier_faults import verifier_faults
from agenttts.task.way_faults import cascade_faults, mode_faults

__all__ = ["Setting", "check_cards", "check_fields", "check_gold", "check_gold_fields", "check_names"]

SHOWING = ("candidates", "answers", "prompt")
"""What the prompts of `fusion`, `agreed_fusion` and `llm_select` may read besides what stages' prompts may."""
CRITICISING = ("prompt", "text", "answer")
"""What those of critics may."""
REFINING = (*CRITICISING, "feedback")
"""What those of `refine` and `tree` may."""


@dataclass(frozen=True)
class Setting:
    """What a task file is checked against."""

    document: Document
    draft: Draft
    folder: Path
    models: Collection[str] | None
    """Names of all cards; `None`: not known, because card files are broken."""
    fields: Collection[str] | None
    """Fields of the data; `None`: not known, because the data cannot be read."""
    rewards: Mapping[str, str] = field(default_factory=lambda: {TINY_PRM: "steps"})
    """Cards of models that only read, and what they look at (`ModelCard.judges`)."""


def check_names(setting: Setting) -> Iterator[Mistake]:
    """Yield mistakes in needs, models, prompts, patterns, labels, functions and the scored stage."""
    document, draft = setting.document, setting.draft
    yield from _cycle(document, draft)
    for name, stage in draft.stages.items():
        at = ("stages", name)
        yield from _needs(document, (*at, "needs"), name, stage, draft)
        yield from _models(setting, (*at, "models"), stage)
        yield from _prompts(setting, at, stage)
        yield from _parse(setting, (*at, "parse"), stage)
        yield from _labels(document, (*at, "select"), stage)
        yield from mode_faults(document, at, stage, setting.models)
        yield from cascade_faults(document, at, stage)
        yield from condition_faults(document, at, name, draft.stages)
        if stage.function is not None:
            yield from _function(setting, (*at, "function"), stage.function)
    for loc, verifier in verifier_blocks(draft):
        yield from _verifier(setting, loc, verifier)
    yield from verifier_faults(document, draft)
    yield from _hidden_tests(setting)
    yield from _named(setting)
    yield from _scored(document, ("score", "stage"), draft.score, draft)
    for name, measure in draft.measures.items():
        yield from _scored(document, ("measures", name, "stage"), measure, draft)


def check_fields(setting: Setting, *, trusted: bool) -> Iterator[Mistake]:
    """Yield mistakes in what fields of the data are made by; rows are not read where there are any."""
    sources = setting.draft.sources
    blocks: list[tuple[Loc, DataBlock | None]] = [(("data",), setting.draft.data)]
    blocks += [
        (("splits", name, "data"), getattr(sources, name).data) for name in ("search", "test") if sources
    ]
    for at, block in blocks:
        for name, made in block.fields.items() if block is not None else ():
            here = (*at, "fields", name, "parse")
            if made.parse is not None and made.parse.pattern is not None:
                yield from _pattern(setting.document, (*here, "pattern"), made.parse.pattern)
            if made.parse is not None and made.parse.function is not None:
                yield from _allowed_function(setting, (*here, "function"), made.parse.function, trusted)


def _allowed_function(setting: Setting, at: Loc, reference: str, trusted: bool) -> Iterator[Mistake]:
    if not trusted:
        message = f"the data cannot be read without Python code of the task's own ({reference})."
        yield setting.document.mistake(
            at, message, "Read it, then allow it with --trust (in Python: trust=True)."
        )
    yield from _function(setting, at, reference)


def _scored(document: Document, at: Loc, score: FinalScoreBlock | None, draft: Draft) -> Iterator[Mistake]:
    """Yield what is wrong with the stage that the score, or a measure, is taken of."""
    named = score.stage if score is not None else None
    if named is not None and named not in draft.stages:
        hint = nearest(named, draft.stages, listed="Stages")
        yield document.mistake(at, f"there is no stage `{named}`.", hint)
    if draft.stages:
        yield from scored_fault(document, named or list(draft.stages)[-1], draft.stages, at)


def _needs(document: Document, at: Loc, name: str, stage: StageDraft, draft: Draft) -> Iterator[Mistake]:
    for index, need in enumerate(stage.needs):
        if need == name:
            yield document.mistake((*at, index), "a stage cannot need itself.")
        elif need and need not in draft.stages:
            hint = nearest(need, [other for other in draft.stages if other != name], listed="Stages")
            yield document.mistake((*at, index), f"there is no stage `{need}`.", hint)
    for need in _twice(stage.needs):
        yield document.mistake(at, f"`{need}` stands twice.")


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1 and name]


def _cycle(document: Document, draft: Draft) -> Iterator[Mistake]:
    """Yield one mistake per stage that is part of a circle of needs, at most one per circle."""
    told: set[str] = set()
    for start in draft.stages:
        circle = _circle_through(start, draft)
        if circle and not told & set(circle):
            told |= set(circle)
            path = " needs ".join(f"`{name}`" for name in [*circle, start])
            hint = "Remove one of these needs."
            yield document.mistake(("stages", start, "needs"), f"these needs run in a circle: {path}.", hint)


def _circle_through(start: str, draft: Draft) -> list[str]:
    """Return the stages of a shortest circle of at least two stages that begins at `start`; none: empty."""
    paths = [[start]]
    seen = {start}
    for path in paths:
        for need in draft.stages[path[-1]].needs:
            if need == start and len(path) > 1:
                return path
            if need in draft.stages and need not in seen:
                seen.add(need)
                paths.append([*path, need])
    return []


def _models(setting: Setting, at: Loc, stage: StageDraft) -> Iterator[Mistake]:
    for index, model in enumerate(stage.models):
        if model in setting.rewards:
            yield _cannot_write(setting, (*at, index), model)
        elif model and setting.models is not None and model not in setting.models:
            names = [name for name in setting.models if name not in setting.rewards]
            hint = (
                nearest(model, names, listed="Models") or "There are no model cards; add one under `models:`."
            )
            yield setting.document.mistake((*at, index), f"there is no model card `{model}`.", hint)
    for model in _twice(stage.models):
        yield setting.document.mistake(at, f"`{model}` stands twice.")


def _cannot_write(setting: Setting, at: Loc, model: str) -> Mistake:
    kind = _KINDS[setting.rewards[model]]
    more = ", field: FIELD" if kind == "similarity" else ""
    verifier = "tiny_prm" if model == TINY_PRM else f"{{kind: {kind}, model: {model}{more}}}"
    hint = f"Name it in `select`, e.g. {{kind: best_of_n, verifier: {verifier}}}."
    does = "makes vectors of texts" if kind == "similarity" else "scores samples"
    return setting.document.mistake(at, f"`{model}` {does} and cannot write any.", hint)


_KINDS = {"steps": "prm", "answer": "orm", "texts": "similarity"}
"""What a model that only reads looks at -> the verifier that asks it."""


def _named(setting: Setting) -> Iterator[Mistake]:
    """Yield models that ways, verifiers and critics name and that have no card, or that cannot write."""
    known = setting.models
    of_verifiers = {(*loc, "model") for loc, _ in verifier_blocks(setting.draft)}
    for at, model in named_models(setting.draft):
        if model in setting.rewards and at not in of_verifiers:
            yield _cannot_write(setting, at, model)
        elif known is not None and model not in known:
            hint = (
                nearest(model, known, listed="Models") or "There are no model cards; add one under `models:`."
            )
            yield setting.document.mistake(at, f"there is no model card `{model}`.", hint)
    for name, stage in setting.draft.stages.items():
        for index, way in enumerate(stage.select):
            for model in (way.to or ()) if way is not None else ():
                at = ("stages", name, "select", index, "to")
                if model in setting.rewards:
                    yield _cannot_write(setting, at, model)
                base, _, mode = model.rpartition("@")
                in_mode = known is not None and base in known and mode in stage.modes
                if known is not None and model not in known and not in_mode:
                    hint = nearest(model, known, listed="Models")
                    yield setting.document.mistake(at, f"there is no model card `{model}`.", hint)


def _prompts(setting: Setting, at: Loc, stage: StageDraft) -> Iterator[Mistake]:
    needs = tuple(need for need in stage.needs if need)
    known = Known(setting.fields, needs, tuple(setting.draft.stages))
    if stage.prompt is not None:
        yield from _prompt(setting, (*at, "prompt"), stage.prompt, known)
    for index, select in enumerate(stage.select):
        if select is None:
            continue
        place = (*at, "select", index)
        if select.prompt is not None:
            extra = REFINING if select.kind in {"refine", "tree"} else SHOWING
            seen = Known(setting.fields, needs, known.stages, extra)
            yield from _prompt(setting, (*place, "prompt"), select.prompt, seen)
        if select.critic is not None and select.critic.prompt is not None:
            seen = Known(setting.fields, needs, known.stages, CRITICISING)
            yield from _prompt(setting, (*place, "critic", "prompt"), select.critic.prompt, seen)


def _prompt(setting: Setting, at: Loc, prompt: PromptBlock, known: Known) -> Iterator[Mistake]:
    for key, text in (("system", prompt.system), ("user", prompt.user)):
        for fault in faults(text, known) if text is not None else ():
            mistake = setting.document.mistake((*at, key), fault.message, fault.hint)
            line = _template_line(setting.document, (*at, key), fault.line) or mistake.line
            yield Mistake(mistake.file, line, mistake.key, mistake.message, mistake.hint)
    for key, name in (("system_file", prompt.system_file), ("user_file", prompt.user_file)):
        if name is not None:
            yield from _prompt_file(setting, (*at, key), setting.folder / name, known)


def _prompt_file(setting: Setting, at: Loc, path: Path, known: Known) -> Iterator[Mistake]:
    if not path.is_file():
        yield setting.document.mistake(at, f"no such file: {shown(path)}.", missing_file(path))
        return
    try:
        text = read_text(path)
    except TaskFileError as error:
        yield from error.mistakes
        return
    file = shown(path)
    for fault in faults(text, known):
        yield Mistake(file, fault.line, "", fault.message, fault.hint)


def _template_line(document: Document, at: Loc, line: int) -> int | None:
    """Return the line in the task file of a line of an inline template."""
    import yaml

    stack = document.node(at)
    if not isinstance(stack, yaml.ScalarNode):
        return None
    first = stack.start_mark.line + 1
    return first + line if stack.style in {"|", ">"} else first


def _parse(setting: Setting, at: Loc, stage: StageDraft) -> Iterator[Mistake]:
    if stage.parse is not None and stage.parse.pattern is not None:
        yield from _pattern(setting.document, (*at, "pattern"), stage.parse.pattern)
    if stage.parse is not None and stage.parse.function is not None:
        yield from _function(setting, (*at, "function"), stage.parse.function)


def _pattern(document: Document, at: Loc, pattern: str) -> Iterator[Mistake]:
    import regex

    try:
        regex.compile(pattern)
    except regex.error as error:
        hint = "In YAML, put patterns in single quotes, so that a backslash stays one."
        yield document.mistake(at, f"not a regular expression: {error}.", hint)


def _labels(document: Document, at: Loc, stage: StageDraft) -> Iterator[Mistake]:
    taken: set[str] = set()
    for index, select in enumerate(stage.select):
        names = [way.name for way in select.ways] if select is not None else []
        for name in sorted(taken & set(names)):
            message = f"two ways to select are called `{name}`."
            yield document.mistake((*at, index), message, "Give one of them another `label`.")
        taken |= set(names)


def _verifier(setting: Setting, at: Loc, verifier: VerifierBlock) -> Iterator[Mistake]:
    if verifier.model is not None and setting.models is not None and verifier.model in setting.models:
        yield from _model_of_verifier(setting, at, verifier.kind, verifier.model)
    stands_here = "prompt" in setting.document.place((*at, "prompt", "user"))[0]
    if verifier.prompt is not None and stands_here:  # else it is a card's, and was checked there
        known = Known(None, (), (), PROMPT_VARIABLES.get(verifier.kind, ()), own=())
        yield from _prompt(setting, (*at, "prompt"), verifier.prompt, known)
    if verifier.pattern is not None:
        yield from _pattern(setting.document, (*at, "pattern"), verifier.pattern)
    if verifier.function is not None:
        yield from _function(setting, (*at, "function"), verifier.function)
    if verifier.tests is not None:
        yield from _tests(setting, (*at, "tests"), verifier.tests)
    if verifier.field is not None:
        yield from _tests(setting, (*at, "field"), verifier.field)
    if verifier.json_schema is not None:
        import jsonschema

        try:
            jsonschema.validators.validator_for(verifier.json_schema).check_schema(verifier.json_schema)
        except jsonschema.SchemaError as error:
            yield setting.document.mistake((*at, "json_schema"), f"not a JSON schema: {error.message}.")


def _hidden_tests(setting: Setting) -> Iterator[Mistake]:
    """Yield verifiers of ways, critics and test stages that read the tests by which a stage or the task is scored."""
    blocks = list(verifier_blocks(setting.draft))
    scoring = {verifier.tests for at, verifier in blocks if not _in_use(at)}
    for at, verifier in blocks:
        if _in_use(at) and verifier.tests is not None and verifier.tests in scoring:
            done = "selected" if at[2] == "select" else "mended"
            message = (
                f"the task is scored by the tests in `{verifier.tests}`, so nothing may be {done} by them."
            )
            yield setting.document.mistake(
                (*at, "tests"),
                message,
                "Name a field with public tests, such as the examples of the statement.",
            )


def _in_use(at: Loc) -> bool:
    """Return whether the verifier at a place has a part in the answers, rather than in their scores."""
    return at[0] == "stages" and at[2] in {"select", "test"}


def _tests(setting: Setting, at: Loc, path: str) -> Iterator[Mistake]:
    fields = setting.fields
    if fields is not None and path not in fields and path.partition(".")[0] not in fields:
        message = f"the data has no field `{path}`."
        yield setting.document.mistake(at, message, nearest(path, fields, listed="Fields of the data"))


def _model_of_verifier(setting: Setting, at: Loc, kind: str, model: str) -> Iterator[Mistake]:
    """Yield a model that cannot do what a verifier asks of it: to score, or to write."""
    judged = setting.rewards.get(model)
    wanted = next((looked_at for looked_at, asking in _KINDS.items() if asking == kind), None)
    if wanted is None and judged is not None:
        yield _cannot_write(setting, (*at, "model"), model)
    elif wanted != judged and "texts" in {wanted, judged}:
        yield from _embedding_or_not(setting, (*at, "model"), model, judged)
    elif wanted is not None and judged is None:
        hint = "Name a card with `source: reward`, or ask this model as a judge: {kind: judge, model: ...}."
        yield setting.document.mistake((*at, "model"), f"`{model}` is no reward model.", hint)
    elif wanted != judged:
        message = f"`{model}` gives scores of the {judged}, and {kind} needs those of the {wanted}."
        other = {"steps": "prm", "answer": "orm"}[str(judged)]
        yield setting.document.mistake((*at, "model"), message, f"Use `kind: {other}`.")


def _embedding_or_not(setting: Setting, at: Loc, model: str, judged: str | None) -> Iterator[Mistake]:
    if judged == "texts":
        message = f"`{model}` makes vectors of texts and is no reward model."
        yield setting.document.mistake(at, message, "Use `kind: similarity` with its `field`.")
    else:
        hint = "Name a card with `source: embedding`, such as text-embedding-3-small."
        yield setting.document.mistake(at, f"`{model}` is no embedding model.", hint)


def _function(setting: Setting, at: Loc, reference: str) -> Iterator[Mistake]:
    """Check that a function is there, without running the code around it."""
    module, _, name = reference.rpartition(":")
    if not module or not name.isidentifier():
        expected = "expected `file.py:name` (beside the task file) or `module:name`"
        yield setting.document.mistake(at, f"{expected}, got {reference!r}.")
    elif module.endswith(".py"):
        yield from _function_in_file(setting, at, setting.folder / module, name)
    elif importlib.util.find_spec(module.partition(".")[0]) is None:
        yield setting.document.mistake(
            at, f"there is no module `{module}`.", "Install it, or name a file: `file.py:name`."
        )


def _function_in_file(setting: Setting, at: Loc, path: Path, name: str) -> Iterator[Mistake]:
    if not path.is_file():
        yield setting.document.mistake(at, f"no such file: {shown(path)}.", missing_file(path))
        return
    try:
        tree = ast.parse(read_text(path))
    except TaskFileError as error:
        yield from error.mistakes
        return
    except (SyntaxError, ValueError) as error:
        yield Mistake(shown(path), getattr(error, "lineno", None), "", f"not valid Python: {error}.")
        return
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    bound = {part.id for node in tree.body for part in ast.walk(node) if isinstance(part, ast.Name)}
    imported = {
        (a.asname or a.name) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
    }
    if name not in {*defined, *bound, *imported}:
        yield setting.document.mistake(
            at, f"{path.name} defines no `{name}`.", nearest(name, defined, listed="Functions")
        )


def check_gold(setting: Setting, parts: Parts) -> Iterator[Mistake]:
    """Yield gold fields that problems lack. Of test problems no more is told than how many."""
    for at, score in _golds(setting.draft):
        yield from _gold(setting, at, score, parts)


def check_gold_fields(setting: Setting, rows: Sequence[Mapping[str, Any]]) -> Iterator[Mistake]:
    """Yield gold fields that no row has, for data that could be read and not divided into search and test problems."""
    for at, score in _golds(setting.draft) if rows else ():
        if all(_lacks(row, score) for row in rows):
            yield _no_field(setting, at, score.gold or "")


def _golds(draft: Draft) -> list[tuple[Loc, StageScoreBlock]]:
    """Return the place of every gold field, and the block that names it."""
    found: list[tuple[Loc, StageScoreBlock | None]] = [
        (("stages", name, "score", "gold"), stage.score) for name, stage in draft.stages.items()
    ]
    found.append((("score", "gold"), draft.score))
    found += [(("measures", name, "gold"), measure) for name, measure in draft.measures.items()]
    return [(at, score) for at, score in found if score is not None and score.gold is not None]


def _no_field(setting: Setting, at: Loc, path: str) -> Mistake:
    hint = nearest(path, setting.fields or (), listed="Fields of the data")
    return setting.document.mistake(at, f"the data has no field `{path}`.", hint)


def _gold(setting: Setting, at: Loc, score: StageScoreBlock, parts: Parts) -> Iterator[Mistake]:
    path = score.gold or ""
    problems = [*parts.search, *parts.test]
    lacking = {
        split: [p for p in getattr(parts, split) if _lacks(p.fields, score)] for split in ("search", "test")
    }
    total = sum(map(len, lacking.values()))
    if total == len(problems):
        yield _no_field(setting, at, path)
    elif total:
        example = f", e.g. problem {lacking['search'][0].id!r}" if lacking["search"] else ""
        where = f"{len(lacking['search'])} of {len(parts.search)} search and {len(lacking['test'])} of {len(parts.test)} test"
        yield setting.document.mistake(
            at, f"{where} problems have no `{path}`{example}.", "Leave them out by `where`."
        )


def _lacks(fields: Mapping[str, Any], score: StageScoreBlock) -> bool:
    value = lookup(fields, score.gold or "")
    # Of a list any item is right, so that an empty one holds no gold; to a set or a list of calls it may belong.
    empty = value == [] and score.verifier.kind not in {"set_f1", "node_f1", "parameter_f1"}
    return value is MISSING or value is None or empty


def check_cards(
    document: Document, cards: Mapping[str, ModelCard], origins: Mapping[str, Path], unit: Unit
) -> Iterator[Mistake]:
    """Yield a mistake for every card that lacks what costs in `unit` need, at the card's own place."""
    for name, card in cards.items():
        if not _can_be_billed(card, unit):
            holder = read_document(origins[name]) if name in origins else document
            message = f"a budget in {unit} needs {NEEDED_ON_CARD[unit]} on this card."
            hint = (
                f"Add {EXAMPLES[unit]}, or give the budget in another unit, e.g. --budget {OTHERWISE[unit]}."
            )
            yield holder.mistake(("models", name), message, f"{hint}{_price_note(card, unit)}")


EXAMPLES: Mapping[Unit, str] = {
    Unit.GFLOPS: "`parameters: <number>` (the model's size)",
    Unit.PAPER: "`parameters: <number>` (the model's size)",
    Unit.USD: "`price: {input_per_million_usd: <number>, output_per_million_usd: <number>}` (your provider's figures)",
    Unit.SECONDS: "`speed: {prefill_tokens_per_s: <number>, decode_tokens_per_s: <number>}` (measured)",
}


OTHERWISE: Mapping[Unit, str] = {
    Unit.GFLOPS: "0.01usd",
    Unit.PAPER: "0.01usd",
    Unit.USD: "20000tokens",
    Unit.SECONDS: "20000tokens",
}
"""Budgets in units that other figures serve."""


def _price_note(card: ModelCard, unit: Unit) -> str:
    if unit is Unit.USD and card.source == "litellm":
        return f" The price map of litellm has none for {card.served_as!r}."
    return ""


def _can_be_billed(card: ModelCard, unit: Unit) -> bool:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.base import CallUsage

    try:
        amount(CostModel({card.name: card}).charge(card.name, CallUsage(1, (1,))), unit)
    except CardError:
        return False
    return True
