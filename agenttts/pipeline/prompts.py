"""Prompts: Jinja2 templates rendered in a sandbox, text exactly as written (nothing is escaped for HTML).

Variables: `problem.<field>`; `stages.<needed stage>.answer`, `.text` and `.answers` (of the samples that could be
parsed); in fusion prompts also `candidates` (texts of the samples), `answers` and `prompt` (what the samples answer).
An answer that could not be parsed renders as the empty text. Filters: those of Jinja and `agenttts.task.filters`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agenttts.models.base import Message
from agenttts.pipeline.base import Problem, StageOutput
from agenttts.task.filters import FILTERS
from agenttts.task.schema import PromptBlock

__all__ = [
    "BUILT_IN_CHOICE",
    "BUILT_IN_CRITIC",
    "BUILT_IN_FUSION",
    "BUILT_IN_REFINE",
    "BUILT_IN_RIVALS",
    "Prompt",
    "PromptRenderError",
    "json_template",
    "prompt_digest",
    "render_faults",
    "rendered",
    "variables",
]

_ALL_REPLIES = """\
{{ prompt }}

{{ candidates | length }} replies to the task above were written independently of one another. Any of them may be wrong.
{% for candidate in candidates %}
--- Reply {{ loop.index }}
{{ candidate }}
{% endfor %}
--- End of the replies

"""
BUILT_IN_FUSION = PromptBlock(
    user=_ALL_REPLIES
    + """\
Compare the replies, keep what is right in them, mend what is wrong, and write one final reply to the task, in the
form that the task asks for. Do not speak of the replies."""
)
"""Used by `fusion` where the task gives no prompt of its own. The stage's system part stays in front of it."""
BUILT_IN_RIVALS = PromptBlock(
    user="""\
{{ prompt }}

Many replies to the task above were written independently of one another. Most of them agree with the first reply
below; the second reply is the one that most of the others agree with. Either may be wrong.

--- Reply that most agree with
{{ candidates[0] }}

--- Its strongest rival
{{ candidates[1] }}
--- End of the replies

Find where the two part ways, work out which of them is right there, and write one final reply to the task, in the form
that the task asks for. Do not speak of the replies."""
)
"""Used by `agreed_fusion`."""
BUILT_IN_CHOICE = PromptBlock(
    user=_ALL_REPLIES
    + """\
Which reply is the best one? End with its number alone on the last line."""
)
"""Used by `llm_select`."""
BUILT_IN_CRITIC = PromptBlock(
    user="""\
{{ prompt }}

--- A reply to the task above
{{ text }}
--- End of the reply

Check the reply step by step. Name each mistake, where it is and why it is one. Where there is none, say so. Do not write
a new reply."""
)
"""Used by `refine` with a critic."""
BUILT_IN_REFINE = PromptBlock(
    user="""\
{% if feedback %}What was found when your reply was checked:

{{ feedback }}

{% else %}Look over your reply for mistakes.
{% endif %}Write a better reply to the task, complete and in the form that the task asks for. If nothing is wrong with your
reply, write it again."""
)
"""Used by `refine` and `tree`: the next turn of the conversation in which the sample was written."""


def prompt_digest(messages: Sequence[Message]) -> str:
    """Return 12 hexadecimal digits that tell a rendered prompt from others of the same stage and problem."""
    parts = repr([(message.role, message.content) for message in messages])
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class PromptRenderError(Exception):
    """A template cannot be rendered for one problem; becomes the failure of that problem."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
        """Class name of the template engine's error, e.g. `UndefinedError`."""


class _Missing(StrictUndefined):
    """Names the variables that there are."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Mapping):
            known = ", ".join(map(str, self._undefined_obj)) or "none"
            return f"there is no {self._undefined_name!r}; there are: {known}"
        return super()._undefined_message


class _Environment(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """Let fields come before methods, so that `problem.items` is the field of that name."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    # No autoescape: these are prompts, not pages.
    environment = _Environment(undefined=_Missing, autoescape=False, keep_trailing_newline=True)
    environment.filters.update(FILTERS)
    return environment


@lru_cache(maxsize=64)
def json_template(source: str) -> Template:
    """Compile a template of JSON text: what an expression gives is written as JSON, so no text leaves its place.

    Raises:
        jinja2.TemplateSyntaxError: Not a template.
    """
    return _environment().overlay(finalize=_as_json).from_string(source)


def _as_json(value: Any) -> str:
    # A variable that is not there raises when it is written; what `tojson` made is JSON already.
    if isinstance(value, Undefined) or hasattr(value, "__html__"):
        return str(value)
    return json.dumps(value)


@dataclass(frozen=True)
class Prompt:
    """The compiled templates of one prompt."""

    system: Template | None
    user: Template

    @classmethod
    def compile(cls, block: PromptBlock, system: str | None = None) -> Prompt:
        """Compile a block whose files are already inlined.

        Args:
            block: The templates.
            system: System part used where the block has none.

        Raises:
            jinja2.TemplateSyntaxError: Not a template.
        """
        environment = _environment()
        source = block.system if block.system is not None else system
        return cls(
            None if source is None else environment.from_string(source),
            environment.from_string(block.user or ""),
        )

    def render(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the messages for one problem.

        Raises:
            PromptRenderError: A variable is missing or the template does what the sandbox forbids.
        """
        user = Message("user", rendered(self.user, values))
        return (user,) if self.system is None else (Message("system", rendered(self.system, values)), user)


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """Return the text of a template.

    Raises:
        PromptRenderError: A variable is missing or the template does what the sandbox forbids.
    """
    try:
        return template.render(values)
    except TemplateError as error:
        raise PromptRenderError(str(error), type(error).__name__) from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        # Expressions of the template met a value that they were not made for.
        raise PromptRenderError(str(error), type(error).__name__) from error


def render_faults(
    prompt: Prompt, needs: Sequence[str], problems: Iterable[Problem]
) -> Iterator[tuple[Problem, PromptRenderError]]:
    """Yield the problems that a stage's prompt cannot be rendered for, with why; answers of earlier stages are nothing."""
    nothing = {need: StageOutput(None) for need in needs}
    for problem in problems:
        try:
            prompt.render(variables(problem, nothing))
        except PromptRenderError as error:
            yield problem, error


def variables(problem: Problem, outputs: Mapping[str, StageOutput]) -> dict[str, Any]:
    """Return the variables of a stage's templates; `outputs` are those of the stages it needs."""
    return {"problem": problem.fields, "stages": {name: _view(output) for name, output in outputs.items()}}


def _view(output: StageOutput) -> dict[str, Any]:
    return {
        "answer": "" if output.answer is None else output.answer,
        "text": output.text,
        "answers": [answer for answer in output.answers if answer is not None],
    }
