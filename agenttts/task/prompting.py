"""Blocks of task.yaml for what is sent to a model: the prompt and how completions are drawn."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from agenttts.task.options import Block as _Block
from agenttts.task.options import Count

__all__ = ["ModeBlock", "PromptBlock", "SamplingBlock"]


class PromptBlock(_Block):
    """Jinja2 templates, rendered in a sandbox.

    Variables: `problem.<field>`, `stages.<needed stage>.answer`, `.text`, `.answers`; in fusion prompts also
    `candidates` (list of texts), `answers` and `prompt` (what the candidates answer).
    """

    system: str | None = None
    user: str | None = None
    system_file: str | None = None
    """File, relative to the task file."""
    user_file: str | None = None

    @model_validator(mode="after")
    def _one_user_part(self) -> PromptBlock:
        if (self.user is None) == (self.user_file is None):
            raise ValueError("expected either `user` or `user_file`")
        if self.system is not None and self.system_file is not None:
            raise ValueError("expected `system` or `system_file`, not both")
        return self


class SamplingBlock(_Block):
    """How completions are drawn."""

    temperature: Annotated[float, Field(ge=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Count = 1024
    stop: tuple[str, ...] = ()
    seed: int = 0
    logprobs: bool = False
    """Ask for the probability of every token drawn: needed by verifier self_certainty."""
    extra: dict[str, Any] = {}
    """Further fields of the request, sent as they are."""


class ModeBlock(_Block):
    """Another way to ask the same models: what is given replaces the stage's `sampling` key by key."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Count | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    extra: dict[str, Any] = {}
    """Added to the stage's own, e.g. `{reasoning_effort: high}`; a key given here wins."""
    decode_tokens: Annotated[float, Field(gt=0)] | None = None
    """Expected tokens of a completion in this mode, in place of `lengths.decode_tokens`."""

    def applied(self, sampling: SamplingBlock) -> SamplingBlock:
        """Return the sampling of a stage in this mode."""
        given = self.model_dump(exclude_none=True, exclude={"extra", "decode_tokens"})
        return sampling.model_copy(update={**given, "extra": {**sampling.extra, **self.extra}})
