"""What there is to choose at each stage of a task, and how its stages hang together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agenttts.pipeline.base import StageChoice

if TYPE_CHECKING:
    from agenttts.task.schema import StageBlock
    from agenttts.task.task import Task

__all__ = ["Structure", "stage_choices"]


@dataclass(frozen=True)
class Structure:
    """How stages hang together, as far as an allocator needs to know."""

    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """LLM stage -> LLM stages whose answers it uses (through functions and tests where there are some)."""
    final: str | None = None
    """LLM stage whose answer is scored in the end; `None` where that of another one is."""
    kinds: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(stage, label of a selector) -> its kind."""
    when: Mapping[str, str] = field(default_factory=dict)
    """Stage that runs on a condition -> the stage that it watches."""
    measures: Mapping[str, str] = field(default_factory=dict)
    """Stage that runs on a condition -> what is measured of the watched one (see `WhenBlock`)."""
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stage that problems are sent to by the watched stage's answer -> the settings before it, which they were not
    sent to (none: it is asked first). Such a stage has no answer of the watched one to pass on."""
    optional: frozenset[str] = frozenset()
    """Stages that may be left out, though they run on no condition."""
    pooled: frozenset[str] = frozenset()
    """Stages of `when` whose vote counts the samples of the watched stage too."""

    def kind(self, choice: StageChoice) -> str:
        """Return the kind of a choice's selector; its label where none is known."""
        return self.kinds.get((choice.stage, choice.select), choice.select)

    @classmethod
    def of(cls, task: Task) -> Structure:
        """Read the structure of a task."""
        stages = task.file.stages
        llm = {name for name, block in stages.items() if block.asks_model}
        final = task.file.score.stage or list(stages)[-1]
        return cls(
            needs={name: _llm_needs(name, stages, llm) for name in stages if name in llm},
            final=final if final in llm else None,
            kinds={(name, way.name): way.kind for name in llm for way in stages[name].ways},
            when=task.file.watched,
            measures=_measures(task.file.watched, stages),
            routes={name: task.file.settings_before(name) for name in stages if stages[name].routed},
            optional=frozenset(name for name, block in stages.items() if block.optional),
            pooled=frozenset(name for name, block in stages.items() if block.pool),
        )


def _measures(watched: Iterable[str], stages: Mapping[str, StageBlock]) -> dict[str, str]:
    """Return what decides where a stage runs; one with `otherwise` alone runs where a rating sent no problem before."""
    whens = {name: stages[name].when for name in watched}
    return {name: "answer" if when is None else when.measure for name, when in whens.items()}


def _llm_needs(name: str, stages: Mapping[str, StageBlock], llm: set[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for need in stages[name].needs:
        found.update(dict.fromkeys([need] if need in llm else _llm_needs(need, stages, llm)))
    return tuple(found)


def stage_choices(
    name: str, block: StageBlock, max_recorded: Callable[[str, str], int | None] | None = None
) -> tuple[StageChoice, ...]:
    """Return every different choice of one LLM stage.

    With one sample all selectors agree, so there is one choice for it, labelled `first`. The selector `first` with
    more samples answers as with one and costs more; it is left out where one sample is on offer. A stage that runs on
    a condition has its choices under each threshold; under 0 it never runs, so there is one choice for it. The same
    choice stands for a stage that may be left out.

    Args:
        name: Name of the stage.
        block: Its block in the task file.
        max_recorded: (stage, model) -> draws that a recording holds, `None` where draws are without end.
    """
    offered = _offered(name, block, max_recorded)
    if block.optional and offered:
        return (replace(offered[0], below=0.0), *offered)
    if block.when is None or not offered:
        return offered
    choices = [
        replace(choice, below=below)
        for below in block.when.thresholds
        for choice in (offered if below > 0 else offered[:1])
    ]
    return tuple(choices)


def _offered(
    name: str, block: StageBlock, max_recorded: Callable[[str, str], int | None] | None
) -> tuple[StageChoice, ...]:
    choices: dict[StageChoice, None] = {}
    for model in block.variants:
        limit = max_recorded(name, model) if max_recorded is not None else None
        counts = [n for n in block.sample_counts if limit is None or n <= limit]
        for n in counts:
            for way in block.ways:
                if n > 1 and way.kind == "first" and 1 in counts:
                    continue
                choices[StageChoice(name, model, n, "first" if n == 1 else way.name)] = None
    return tuple(choices)
