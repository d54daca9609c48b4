"""Blocks of task.yaml for what a stage may choose from: numbers of samples, and how often it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "ALWAYS",
    "Block",
    "Count",
    "SamplesRange",
    "SharedByBlock",
    "WhenBlock",
    "queries_of",
    "threshold",
]

ALWAYS = 1.01
"""A threshold that no measure reaches: a stage that runs below it runs on every problem."""


def threshold(below: float | None) -> float:
    """Return a choice's threshold as a number: one without runs always."""
    return ALWAYS if below is None else below


Count = Annotated[int, Field(ge=1)]


class Block(BaseModel):
    """What every block of a task file is: unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True
    )


class SamplesRange(Block):
    """Numbers of samples to choose from, as a range."""

    min: Count = 1
    max: Count
    scale: Literal["doubling", "linear"] = "doubling"
    """`doubling`: min, 2 min, 4 min, ... and max; `linear`: min, min + step, ... and max."""
    step: Count = 1

    @model_validator(mode="after")
    def _ordered(self) -> SamplesRange:
        if self.max < self.min:
            raise ValueError("expected `max` of at least `min`")
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers, rising."""
        if self.scale == "linear":
            return tuple(sorted({*range(self.min, self.max + 1, self.step), self.max}))
        counts, n = [], self.min
        while n < self.max:
            counts.append(n)
            n *= 2
        return (*counts, self.max)


class WhenBlock(Block):
    """On which problems a stage runs: where an earlier stage seems unsure of its answer, or rates them low.

    Elsewhere it costs nothing, and its answer is that of the stage it watches. Under `measure: answer` that is a
    rating and no solution: the stage then has no answer, and one with `otherwise` takes the problem.
    """

    stage: str
    """The stage that is watched; one of `needs`."""
    measure: Literal["agreement", "verifier_score", "answer", "score"] = "agreement"
    """`agreement`: share of all samples, unparsed ones included, that hold the selected answer; `verifier_score`: what
    the selecting verifier gave the selected sample (unknown, as with one sample: the stage runs); `answer`: the answer
    itself, read as a number and clipped to [0, 1], e.g. a difficulty (not a number: the stage runs); `score`: of a test
    stage. Where that is high enough, the stage passes on the answer that was tested."""
    below: tuple[Annotated[float, Field(ge=0, le=ALWAYS)], ...]
    """The stage runs where the measure is below this; several are searched. 0: never; above 1: always."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("below"), int | float):
            return {**value, "below": [value["below"]]}
        return value

    # A least length of the field would be told beside each mistake in an entry, as if the list were empty.
    @field_validator("below", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and not value:
            raise ValueError("expected at least one threshold, the list is empty")
        return value

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds to choose from, rising, without repeats."""
        return tuple(sorted(set(self.below)))


class SharedByBlock(Block):
    """A stage that depends on a context only: it runs once per context, whatever the problems ask of it."""

    field: str
    """Dotted path of the problem field that tells contexts apart."""
    queries: Annotated[float, Field(ge=1)] | None = None
    """Expected problems per context in production, by which the stage's charge is divided; `None`: as many as the
    search problems show on average."""


def queries_of(shared_by: SharedByBlock | None) -> float:
    """Return how many problems share one run of a stage; `queries` left to the data counts as 1 until it is resolved."""
    return 1.0 if shared_by is None or shared_by.queries is None else shared_by.queries
