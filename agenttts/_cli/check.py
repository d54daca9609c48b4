"""`agenttts check`: the resolved task, its space and a quote, with nothing spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agenttts._cli.advice import planner_quote
from agenttts._cli.console import clean, fold, print_json, say
from agenttts._cli.problem import problem_json, problem_table
from agenttts._cli.quoting import StudyForecast, forecast, quote_json, quote_table
from agenttts._cli.words import allocation_text, amount_text, plural, provenance
from agenttts.errors import InfeasibleBudgetError
from agenttts.task.options import queries_of

if TYPE_CHECKING:
    from agenttts.study.result import StudyOptions
    from agenttts.task.options import SharedByBlock, WhenBlock
    from agenttts.task.schema import StageBlock
    from agenttts.task.task import Task

__all__ = ["run_check"]


CONDITIONAL = (
    "Stages with `when` or `otherwise` are taken to run on every problem until draws show how often they do."
)


def run_check(
    name: str,
    *,
    budget: str | None,
    n_trials: int,
    endpoint: str | None,
    source: str | None,
    n_search: int | None,
    data: str | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Check a task and print what a study of it would be."""
    from agenttts.study.opening import load_task, study_options, unit_of

    task = load_task(
        name,
        trust=trust,
        endpoint=endpoint,
        source=source,
        n_search=n_search,
        unit=unit_of(budget),
        data=data,
    )
    if not as_json:
        say(task_text(task))
    options = study_options(task, budget=budget, n_trials=n_trials)
    try:
        known = forecast(task, options)
    except InfeasibleBudgetError as error:
        raise InfeasibleBudgetError(f"{_budget_place(name, budget)}: {error}") from error
    if as_json:
        print_json(check_json(task, options, known))
    else:
        say(f"\n{space_text(task, options, known)}")
        adviser = planner_quote(task, options, known.space)
        if adviser is not None:
            say(fold(adviser.text, first="planner   "))
        asked = planner_text(task, options)
        if asked:
            say(f"\n{asked}")


def planner_text(task: Task, options: StudyOptions) -> str:
    """Return who the task's planner is and what asking it may take; empty where there is none."""
    from agenttts._cli.advice import planner_quote

    quote = planner_quote(task, options)
    return "" if quote is None else fold(quote.text, first="planner   ")


def _budget_place(name: str, budget: str | None) -> str:
    """Return where the budget was given: the option, or file, line and key."""
    if budget is not None:
        return f"--budget {budget}"
    from agenttts.catalogue import resolve_task
    from agenttts.task.reading import read_document

    document = read_document(resolve_task(name))
    path, line = document.place(("budget", "default"))
    return f"{document.file}:{line}: {'.'.join(map(str, path))}"


def task_text(task: Task) -> str:
    """Return the resolved task for people."""
    file = task.file
    lines = [f"task {clean(file.name)} ({clean(task.folder)})"]
    if file.description:
        lines.append(fold(clean(" ".join(file.description.split()), limit=600), first="  "))
    n_test = task.n_test if task.n_test is not None else file.splits.test.n
    test = "all that are left" if n_test is None else f"{n_test:,}"
    gold = f" against {clean(file.score.gold)}" if file.score.gold else ""
    lines += [
        f"  problems  {len(task.search):,} for search; sealed for the test: {test}",
        f"  score     {file.score.verifier.kind} on stage {clean(task.scored_stage)}{gold}",
    ]
    for name, measure in file.measures.items():
        of = clean(measure.stage or list(file.stages)[-1])
        against = f" against {clean(measure.gold)}" if measure.gold else ""
        lines.append(f"  measure   {clean(name)}: {measure.verifier.kind} on stage {of}{against}")
    for name, stage in file.stages.items():
        lines += ["", f"stage {clean(name)}{_needs(stage)}", *_stage_lines(stage)]
    return "\n".join(lines)


def _needs(stage: StageBlock) -> str:
    return f" (needs {', '.join(map(clean, stage.needs))})" if stage.needs else ""


def _stage_lines(stage: StageBlock) -> list[str]:
    if stage.function is not None:
        return [f"  function  {clean(stage.function)}"]
    if stage.test is not None:
        return [f"  test      {stage.test.verifier.kind} of the answer of stage {clean(stage.test.stage)}"]
    sampling = stage.sampling
    rows = [
        ("models", ", ".join(map(clean, stage.variants))),
        ("samples", ", ".join(map(str, stage.sample_counts))),
        ("select", ", ".join(clean(way.name) for way in stage.ways) + _pooled(stage)),
        *([("when", when_text(stage.when))] if stage.when is not None else []),
        *([("otherwise", otherwise_text(stage.otherwise))] if stage.otherwise is not None else []),
        *([("shared", shared_text(stage, stage.shared_by))] if stage.shared_by is not None else []),
        ("parse", stage.parse.rule),
        ("sampling", f"temperature {sampling.temperature:g}, at most {plural(sampling.max_tokens, 'token')}"),
    ]
    if stage.score is not None:
        gold = f" against {clean(stage.score.gold)}" if stage.score.gold else ""
        rows.append(("score", f"{stage.score.verifier.kind}{gold}"))
    return [fold(text, first=f"  {label:<10}") for label, text in rows]


def _pooled(stage: StageBlock) -> str:
    return f", votes pooled with {clean(stage.when.stage)}" if stage.pool and stage.when else ""


def when_text(when: WhenBlock) -> str:
    """Return on which problems a stage runs, for people."""
    thresholds = " or ".join(f"{below:g}" for below in when.thresholds)
    return f"where the {when.measure.replace('_', ' ')} of {clean(when.stage)} is below {thresholds}"


def otherwise_text(other: str) -> str:
    """Return which problems a stage takes over, for people."""
    return f"where {clean(other)} was not run and left no answer"


def shared_text(stage: StageBlock, shared: SharedByBlock) -> str:
    """Return what a stage depends on, for people."""
    optional = "; may be left out" if stage.optional else ""
    queries = f"{queries_of(shared):g} problems"
    return f"runs once per {clean(shared.field)}, its charge divided by {queries}{optional}"


def space_text(task: Task, options: StudyOptions, known: StudyForecast) -> str:
    """Return space and quote for people."""
    space, budget = known.space, options.budget
    about = "" if space.enumerable else "about "
    share = space.n_feasible / space.size
    n_trials = min(options.n_trials, space.n_feasible)
    confirmed = f" and a confirmation on {plural(known.n_confirm, 'problem')}" if known.n_confirm else ""
    return "\n".join(
        [
            fold(
                f"{plural(space.size, 'allocation')}, of which {about}{space.n_feasible:,} ({share:.1%}) are expected "
                f"to fit {budget} a problem",
                first="space     ",
            ),
            fold(
                f"{allocation_text(space.cheapest)}, {amount_text(space.cost(space.cheapest))} {budget.unit.label} a problem",
                first="cheapest  ",
            ),
            fold(
                f"{allocation_text(known.problem.dearest)}, the dearest that fits",
                first="dearest   ",
            ),
            "",
            problem_table(known.problem, budget),
            "",
            fold(
                f"Quote for {plural(n_trials, 'trial')} on {plural(len(task.search), 'problem')}{confirmed}:"
            ),
            quote_table(known),
            "",
            *([fold(known.scoring)] if known.scoring else []),
            *([fold(known.caution)] if known.caution else []),
            fold(
                "Lengths are assumed from the task file, or are those of recorded draws, until draws teach them. `worst case` takes every "
                "completion at its longest, no reuse, and each figure at the allocation that needs most of it. "
                "Time is by the rate limits and speeds on the cards."
            ),
            *([fold(CONDITIONAL)] if known.space.structure.when else []),
            fold(provenance(task, _models(task)).replace("Figures come from", "Draws will come from")),
        ]
    )


def _models(task: Task) -> list[str]:
    return [model for name in task.llm_stages for model in task.file.stages[name].variants]


def check_json(task: Task, options: StudyOptions, known: StudyForecast) -> dict[str, Any]:
    """Return task, space and quote for machines."""
    space = known.space
    return {
        "task": task.to_json(),
        "digest": task.digest,
        "n_search": len(task.search),
        "budget": {"amount": options.budget.amount, "unit": options.budget.unit.value},
        "space": {
            "n_allocations": space.size,
            "n_feasible": space.n_feasible,
            "exact": space.enumerable,
            "feasible_share": space.n_feasible / space.size,
            "cheapest": space.cheapest.to_json(),
            "cheapest_cost": space.cost(space.cheapest),
        },
        "problem": problem_json(known.problem),
        "n_trials": min(options.n_trials, space.n_feasible),
        "n_confirm": known.n_confirm,
        "quote": quote_json(known.quote),
        "unknown_lengths": list(known.unknown_lengths),
        "planner": None if options.planner is None else options.planner.name,
        "figures_from": provenance(task, _models(task)),
    }
