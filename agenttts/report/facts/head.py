"""Which run this is, and where its figures come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.models.openai_client import without_secrets
from agenttts.report.facts.values import Head, ModelNote, Source
from agenttts.report.provenance import provenance
from agenttts.study.planner import briefing

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.task.task import Task

__all__ = ["head_of", "source_of"]


def head_of(record: RunRecord) -> Head:
    """Return what the run is."""
    task, options, result = record.task, record.options, record.result
    models = _model_notes(record)
    return Head(
        folder=str(record.folder),
        task=task.file.name,
        description=task.file.description,
        status="running" if record.running else result.status,
        message="a process works on it right now" if record.running else result.message,
        budget=options.budget,
        search_budget=options.search_budget,
        allocator=options.allocator,
        planner=None if options.planner is None else options.planner.name,
        seed=options.seed,
        n_trials=len(result.trials),
        n_trials_wanted=options.n_trials,
        n_problems=len(record.problem_ids),
        confidence=options.confidence,
        metric=briefing(task).metric,
        stages=task.llm_stages,
        models=models,
        sources=tuple(dict.fromkeys(note.source for note in models)),
        provenance=provenance(task, [note.name for note in models]),
        agenttts=str(record.state.started.get("agenttts", "")),
        n_feasible=result.n_feasible,
        n_allocations=result.n_allocations,
    )


def source_of(task: Task, model: str) -> Source:
    """Return whose answers a model's figures are figures of; the tiny family stays tiny when it is served over HTTP."""
    family = model.partition("/")[0]
    if family == "simulated":
        return "simulated"
    if family == "tiny":
        return "tiny"
    return "recorded" if task.cards[model].source == "recorded" else "live"


def _model_notes(record: RunRecord) -> tuple[ModelNote, ...]:
    """Return the models that stages may ask, in the order of their names."""
    task = record.task
    asked = {model for name in task.llm_stages for model in task.file.stages[name].variants}
    known = {model: text for stage in briefing(task).stages for model, text in stage.models.items()}
    counted = record.result.counted_by
    return tuple(
        ModelNote(
            name=name,
            source=source_of(task, name),
            served_by=without_secrets(task.cards[name].base_url or ""),
            counted_by=counted.get(name, ()),
            known=known.get(name, ""),
        )
        for name in sorted(asked)
    )
