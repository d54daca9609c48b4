"""Checks of what a prompt template refers to, without rendering it.

Rendering, with the environment that decides what a prompt may do, lives in `agenttts.pipeline.prompts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from agenttts.task.filters import FILTERS
from agenttts.task.reading import nearest
from agenttts.task.schema import PromptBlock, TaskFile

__all__ = [
    "STAGE_PARTS",
    "Fault",
    "Known",
    "faults",
    "problem_fields",
    "prompt_fields",
    "reads_whole_problem",
]

STAGE_PARTS = ("answer", "text", "answers")
"""What a prompt can read of an earlier stage."""


@dataclass(frozen=True)
class Known:
    """What a template may refer to."""

    fields: Collection[str] | None
    """Fields of a problem; `None`: not known, anything goes."""
    needs: Collection[str]
    stages: Collection[str]
    """All stages of the task, for hints."""
    extra: tuple[str, ...] = ()
    """Further variables: `candidates` and `answers` in fusion prompts."""
    own: tuple[str, ...] = ("problem", "stages")
    """Variables of every prompt of a stage; none in those of verifiers."""


@dataclass(frozen=True)
class Fault:
    """A mistake in a template."""

    line: int
    """Line within the template, from 1."""
    message: str
    hint: str = ""


def faults(source: str, known: Known) -> list[Fault]:
    """Return every mistake that can be found without rendering, in order of lines."""
    env = SandboxedEnvironment()  # parses only
    env.filters.update(FILTERS)
    try:
        tree = env.parse(source)
        env.compile(
            tree
        )  # finds unknown filters and tests; may change the tree, so it is parsed afresh below
        tree = env.parse(source)
    except TemplateSyntaxError as error:
        hint = (
            nearest(_quoted(error.message or ""), env.filters, listed="")
            if "filter" in str(error.message)
            else ""
        )
        return [Fault(error.lineno, f"not a valid template: {error.message}", hint)]
    found = [*_loads(tree), *_unknown_variables(tree, known)]
    if "problem" in (free := meta.find_undeclared_variables(tree)):
        found += _unknown_fields(tree, known)
    if "stages" in free:
        found += _unknown_stages(tree, known)
    return sorted(dict.fromkeys(found), key=lambda fault: fault.line)


def problem_fields(file: TaskFile) -> list[str]:
    """Return the fields of a problem that the prompts of a task read, in the order of the file."""
    stages = file.stages.values()
    prompts = [
        prompt
        for stage in stages
        for prompt in (
            stage.prompt,
            *(way.prompt for way in stage.select),
            *(way.critic.prompt for way in stage.select if way.critic is not None),
        )
    ]
    return prompt_fields([prompt for prompt in prompts if prompt])


def prompt_fields(prompts: Iterable[PromptBlock]) -> list[str]:
    """Return the fields of a problem that prompts read, in the order of reading; files must stand in the prompts."""
    return list(dict.fromkeys(name for tree in _trees(prompts) for _, name in _members(tree, "problem")))


def reads_whole_problem(prompts: Iterable[PromptBlock]) -> bool:
    """Return whether a prompt reads a problem otherwise than field by field, under names that stand in the template."""
    return any(
        sum(node.name == "problem" for node in tree.find_all(nodes.Name)) > len([*_members(tree, "problem")])
        for tree in _trees(prompts)
    )


def _trees(prompts: Iterable[PromptBlock]) -> Iterator[nodes.Template]:
    """Yield what can be parsed."""
    env = SandboxedEnvironment()
    for text in (text for prompt in prompts for text in (prompt.system, prompt.user) if text):
        with suppress(TemplateSyntaxError):
            yield env.parse(text)


def _quoted(message: str) -> str:
    return message.partition("'")[2].partition("'")[0]


def _loads(tree: nodes.Template) -> Iterator[Fault]:
    kinds = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    for node in tree.find_all(kinds):
        yield Fault(node.lineno, "a prompt cannot load other templates.", "Write the text into this one.")


def _unknown_variables(tree: nodes.Template, known: Known) -> Iterator[Fault]:
    allowed = (*known.own, *known.extra)
    unknown = meta.find_undeclared_variables(tree) - set(allowed)
    for name in sorted(unknown):
        lines = [
            node.lineno for node in tree.find_all(nodes.Name) if node.name == name and node.ctx == "load"
        ]
        yield Fault(
            min(lines, default=1), f"unknown variable `{name}`.", _variable_hint(name, known, allowed)
        )


def _variable_hint(name: str, known: Known, allowed: tuple[str, ...]) -> str:
    if known.fields is not None and name in known.fields:
        return f"Did you mean `problem.{name}`?"
    if name in known.stages:
        return f"Did you mean `stages.{name}.answer`?"
    return nearest(name, allowed, listed="Variables here")


def _accesses(tree: nodes.Template) -> list[nodes.Getattr | nodes.Getitem]:
    return [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]


def _members(tree: nodes.Template, variable: str) -> Iterator[tuple[nodes.Getattr | nodes.Getitem, str]]:
    """Yield each `variable.name` and `variable["name"]` with its name."""
    for node in _accesses(tree):
        if (
            isinstance(node.node, nodes.Name)
            and node.node.name == variable
            and (name := _member(node)) is not None
        ):
            yield node, name


def _member(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and isinstance(node.arg.value, str)
    ):
        return node.arg.value
    return None


def _unknown_fields(tree: nodes.Template, known: Known) -> Iterator[Fault]:
    if known.fields is None:
        return
    for node, name in _members(tree, "problem"):
        if name not in known.fields:
            hint = nearest(name, known.fields, listed="Fields of the data")
            yield Fault(node.lineno, f"`problem.{name}`: the data has no field `{name}`.", hint)


def _unknown_stages(tree: nodes.Template, known: Known) -> Iterator[Fault]:
    parts: Mapping[int, str] = {
        id(node.node): name for node in _accesses(tree) if (name := _member(node)) is not None
    }
    for node, stage in _members(tree, "stages"):
        if stage not in known.stages:
            hint = nearest(stage, known.stages, listed="Stages")
            yield Fault(node.lineno, f"`stages.{stage}`: there is no stage `{stage}`.", hint)
        elif stage not in known.needs:
            hint = f"Add `{stage}` to the `needs` of this stage."
            yield Fault(node.lineno, f"`stages.{stage}`: this stage does not need `{stage}`.", hint)
        elif parts.get(id(node)) not in STAGE_PARTS:
            message = f"`stages.{stage}`: expected one of {', '.join(f'`.{part}`' for part in STAGE_PARTS)} after it."
            yield Fault(node.lineno, message, nearest(parts.get(id(node), ""), STAGE_PARTS, listed=""))
