"""The plan: an allocation with its task, self-contained, answerable anywhere; and what is known of its score.

`plan.yaml` holds everything that answering a problem takes. The data of the task are referred to, not copied: they are
needed to score a plan, not to use it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Budget, Cost, Unit, total
from agenttts.errors import AgentTTSError, InputError, PlanError
from agenttts.models.tokens import count_notes
from agenttts.pipeline.base import Allocation, Charge, Failure, Problem, StageOutput
from agenttts.pipeline.messages import mapping_faults
from agenttts.pipeline.plan_checks import misfits, unknown_keys

if TYPE_CHECKING:
    from agenttts.models.sampler import Sampler
    from agenttts.pipeline.driver import Requests
    from agenttts.pipeline.opened import OpenPlan
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.task.task import Task

__all__ = ["Measured", "Plan", "PlanAnswer", "Provenance", "figures_from"]

FORMAT = 1
KEYS = (
    "format",
    "agenttts",
    "allocation",
    "budget",
    "measured",
    "cost_per_problem",
    "search",
    "messages",
    "task",
)
"""Of a plan file, at the top."""


@dataclass(frozen=True)
class Measured:
    """What the plan scored, with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int
    """Problems that the mean is over."""
    confidence: float
    method: str
    split: str
    """`test`: problems that had no part in choosing; `search`: those that chose, so the score is flattering."""
    n_failed: int = 0
    """Problems without a score, which the mean leaves out."""
    counted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model -> what counted its tokens, where that was not the endpoint itself (`CallUsage.counted_by`)."""
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The task's `measures` on problems that had no part in choosing, each with its interval; empty: not taken."""


@dataclass(frozen=True)
class Provenance:
    """Which search found the plan."""

    allocator: str = ""
    seed: int | None = None
    n_trials: int | None = None
    spent: Cost | None = None
    """Everything that the search paid."""
    study_id: str = ""
    note: str = ""
    break_even: Mapping[str, int | None] = field(default_factory=dict)
    """Stage that problems share and that the search could have left out -> problems per context from which the plan
    costs no more per problem than the cheapest trial without it that scored no less; `None`: there is no such number."""


@dataclass(frozen=True)
class PlanAnswer:
    """What a plan made of one problem."""

    answer: Any
    """Answer of the stage that the task scores; `None` where its samples could not be parsed."""
    text: str
    stages: Mapping[str, StageOutput]
    cost: Cost
    """Charged."""
    usage: tuple[Charge, ...]
    """Every prompt that was answered, over all stages."""
    stage_costs: Mapping[str, Cost] = field(default_factory=dict)
    """`cost` by stage, of those that ask models."""


@dataclass(frozen=True)
class Plan:
    """An allocation that is ready to be used."""

    task: Task
    allocation: Allocation
    budget: Budget | None = None
    """Per problem: what the search had to keep to."""
    measured: Measured | None = None
    cost_per_problem: Cost | None = None
    """Mean charged cost of a problem, measured."""
    provenance: Provenance = field(default_factory=Provenance)
    agenttts_version: str = ""
    """The version that wrote the plan; empty: this one."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Field of a problem -> where a chat holds it, see `pipeline.messages`; empty: as without a mapping."""

    # --- answering

    async def aanswer(
        self,
        problem: Problem | Mapping[str, Any],
        *,
        clients: Requests | None = None,
        sampler: Sampler | None = None,
        seed: int = 0,
    ) -> PlanAnswer:
        """Answer one problem. Draws are kept in memory only, and nothing limits the spending but the plan itself.

        Args:
            problem: A problem, or its fields.
            clients: Connections (a `Clients`) to use and leave open; `None`: own ones for this call. Hand in one where
                many problems are answered, or use `open`.
            sampler: Where draws come from; `None`: straight from the models.
            seed: Added to the seeds of all draws: another one gives another answer of the same law (recordings excepted).

        Raises:
            ProviderError: A model gave no answer.
            PlanError: The plan does not fit the problem.
            InputError: `problem` is not a mapping of fields.
        """
        from agenttts.budgets.cost_model import CostModel
        from agenttts.models.clients import Clients
        from agenttts.pipeline.opened import Reseeded
        from agenttts.pipeline.pipeline import StageFailedError

        given = self._problem(problem)
        own = Clients(self.task.cards)  # opens nothing before its first use
        used: Requests = own if clients is None else clients
        asking = Reseeded(used, seed) if seed else used
        try:
            outputs = await self._pipeline.outputs(
                given, self.allocation, clients=asking, sampler=sampler or self._sampler(used)
            )
        except StageFailedError as error:
            failed = error
        else:
            return self._answer(outputs, CostModel(self.task.cards))
        finally:
            await own.aclose()
        # Out here, so that the cause does not become a cause of itself: printers of tracebacks go round in such a circle.
        if isinstance(failed.__cause__, AgentTTSError):
            raise failed.__cause__
        raise PlanError(str(failed)) from failed

    def answer(self, problem: Problem | Mapping[str, Any]) -> PlanAnswer:
        """Answer one problem from code that is not async; see `aanswer`.

        Raises:
            InputError: As `aanswer`; also inside a running event loop, where `await plan.aanswer(...)` is needed.
        """
        from agenttts.pipeline.together import run_now

        return run_now(self.aanswer(problem), instead="await plan.aanswer(...)")

    def open(self, *, store: str | None = None) -> OpenPlan:
        """Return the plan with connections that stay open from one problem to the next, for `with` or `async with`.

        Args:
            store: Where draws are kept, a database URL such as `sqlite:///runs/samples.sqlite`, so that what was paid
                for is not drawn again; `None`: nowhere.
        """
        from agenttts.pipeline.opened import OpenPlan

        return OpenPlan(self, store=store)

    async def aanswer_all(
        self,
        problems: Sequence[Problem | Mapping[str, Any]],
        *,
        share: float = 1.0,
        clients: Requests | None = None,
        sampler: Sampler | None = None,
        concurrency: int = 32,
    ) -> list[PlanAnswer | Failure]:
        """Answer a batch, its samples going where they are expected to gain most per cost (see `pipeline.across`).

        Args:
            problems: Problems of different ids, or their fields.
            share: Average budget, as a share of what the batch would cost with the plan's samples for every problem.
            clients: As for `aanswer`.
            sampler: As for `aanswer`.
            concurrency: Problems worked on at a time.

        Returns:
            In the order of the problems; a problem that failed alone is told why.

        Raises:
            ProviderError: One that would stop all problems.
            InputError: A problem is not a mapping of fields, or no stage of the plan has samples to share out.
        """
        from agenttts.budgets.cost_model import CostModel
        from agenttts.models.clients import Clients
        from agenttts.pipeline.across import Across, kinds_of

        given = [
            problem
            if isinstance(problem, Problem)
            else replace(self._problem(problem), id=f"problem-{number}")
            for number, problem in enumerate(problems, start=1)
        ]
        own = Clients(self.task.cards)
        used: Any = own if clients is None else clients
        batch = Across(
            pipeline=self._pipeline,
            allocation=self.allocation,
            kinds=kinds_of(self.task, self.allocation),
            clients=used,
            sampler=sampler or self._sampler(used),
            cost_model=CostModel(self.task.cards),
            unit=self.task.file.budget.unit if self.budget is None else self.budget.unit,
            concurrency=concurrency,
        )
        try:
            made = await batch.run(given, share=share, score=False)
        finally:
            await own.aclose()
        return [
            rollout.failure or self._answer(rollout.outputs, CostModel(self.task.cards), rollout.costs)
            for rollout in made.rollouts
        ]

    def answer_all(
        self, problems: Sequence[Problem | Mapping[str, Any]], *, share: float = 1.0
    ) -> list[PlanAnswer | Failure]:
        """Answer a batch from code that is not async; see `aanswer_all`."""
        from agenttts.pipeline.together import run_now

        return run_now(self.aanswer_all(problems, share=share), instead="await plan.aanswer_all(...)")

    def _problem(self, given: Problem | Mapping[str, Any]) -> Problem:
        if isinstance(given, Problem):
            return given
        if isinstance(given, Mapping):
            return Problem("problem", dict(given))
        from agenttts.task.templates import problem_fields

        fields = ", ".join(f'"{name}": ...' for name in problem_fields(self.task.file)) or '"field": ...'
        raise InputError(
            f"problem: expected a mapping of fields such as {{{fields}}}, got {type(given).__name__}"
        )

    @cached_property
    def _pipeline(self) -> Pipeline:
        from agenttts.pipeline.pipeline import Pipeline

        return Pipeline.build(self.task)

    def _sampler(self, clients: Any) -> Sampler:
        from agenttts.pipeline.opened import fresh_sampler

        return fresh_sampler(clients, self.task.cards)

    def _answer(
        self,
        outputs: Mapping[str, StageOutput],
        cost_model: Any,
        costs: Mapping[str, Cost] | None = None,
    ) -> PlanAnswer:
        usage = tuple(charge for output in outputs.values() for charge in output.charges)
        if costs is None:
            costs = self._pipeline.charged(outputs, cost_model)
        final = outputs[self.task.scored_stage]
        return PlanAnswer(final.answer, final.text, outputs, total(costs.values()), usage, costs)

    # --- what the figures are worth

    @property
    def figures_from(self) -> str:
        """Whose answers the score is of, for people: tiny models, recordings, simulations or live models."""
        return figures_from(self.task, [choice.model for choice in self.allocation.choices])

    # --- files

    def to_yaml(self) -> str:
        """Return the plan as YAML text, ASCII only."""
        import yaml

        import agenttts

        measured = None
        if self.measured is not None:
            notes = count_notes(self.measured.counted_by)
            measured = {**asdict(self.measured), "token_counts": notes, "figures_from": self.figures_from}
            if not self.measured.measures:  # earlier versions refuse keys that they do not know
                del measured["measures"]
        data: dict[str, Any] = {
            "format": FORMAT,
            "agenttts": self.agenttts_version or agenttts.__version__,
            "allocation": self.allocation.to_json(),
            "budget": None
            if self.budget is None
            else {"amount": self.budget.amount, "unit": self.budget.unit.value},
            "measured": measured,
            "cost_per_problem": None if self.cost_per_problem is None else asdict(self.cost_per_problem),
            "search": asdict(self.provenance),
            **({"messages": dict(self.messages)} if self.messages else {}),  # earlier versions refuse the key
            "task": self.task.to_json(),
        }
        head = f"# Plan of agenttts for the task {self.task.file.name}: {self.allocation}\n"
        return head.encode("ascii", "replace").decode() + str(
            yaml.dump(_plain(data), Dumper=_dumper(), sort_keys=False, allow_unicode=False, width=100)
        )

    def save(self, path: str | Path) -> Path:
        """Write the plan to a file; whoever reads it meanwhile sees the old one or the new one, never a part."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        draft.write_text(self.to_yaml(), encoding="ascii")
        draft.replace(target)
        return target

    @classmethod
    def load(cls, path: str | Path, *, trust: bool = False) -> Plan:
        """Read a plan.

        Args:
            path: The plan.yaml.
            trust: Whether Python functions that its task names may run.

        Raises:
            PlanError: No such file, no plan, or one of a newer agenttts.
            TaskFileError: Its task cannot be used.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{path}: the plan cannot be read: {error}") from error
        return cls.from_yaml(text, trust=trust, name=str(path), beside=Path(path).parent)

    @classmethod
    def from_yaml(
        cls, text: str, *, trust: bool = False, name: str = "plan", beside: Path | None = None
    ) -> Plan:
        """Read a plan from YAML text; see `load`."""
        data = _checked(text, name)
        from agenttts.task.task import Task

        try:
            task = Task.from_json(_mapping(data["task"]), trust=trust, beside=beside)
        except InputError as error:
            raise PlanError(f"{name}: {error}\nThe file may have been cut off or changed by hand.") from error
        try:
            plan = cls(
                task=task,
                allocation=Allocation.from_json(data["allocation"]),
                budget=_read_budget(data.get("budget")),
                measured=_read_measured(data.get("measured")),
                cost_per_problem=_read(Cost, data.get("cost_per_problem")),
                provenance=_read_provenance(data.get("search")),
                agenttts_version=str(data.get("agenttts", "")),
                messages=_read_messages(data.get("messages")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"{name}: not a complete plan: {type(error).__name__}: {error}") from error
        if wrong := [*misfits(plan.allocation, task), *mapping_faults(plan.messages)]:
            raise PlanError("\n".join(f"{name}: {one}" for one in wrong))
        return plan


def figures_from(task: Task, models: Sequence[str]) -> str:
    """Return, in words, whose answers figures of these models are figures of."""
    kinds = {"tiny": "tiny models shipped with agenttts", "recorded": "recorded draws"}
    found = []
    for model in models:
        # By name first: the tiny family stays what it is when it is served over HTTP.
        family = model.partition("/")[0]
        named = {"simulated": "simulated models", "tiny": kinds["tiny"]}.get(family)
        found.append(named or kinds.get(task.cards[model].source, "live models"))
    return " and ".join(dict.fromkeys(found))


def _checked(text: str, name: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(f"{name}: not YAML: {error}") from error
    if not isinstance(data, dict) or not {"format", "task", "allocation"} <= set(data):
        raise PlanError(
            f"{name}: not a plan, or one that was cut off: expected the keys format, task and allocation; "
            "`agenttts optimize` writes one"
        )
    version = data["format"]
    if type(version) is not int or version < 1:
        raise PlanError(f"{name}: format: expected {FORMAT}, got {version!r}")
    if version > FORMAT:
        raise PlanError(
            f"{name}: written by agenttts {data.get('agenttts', '?')} in format {version}; this version reads up to "
            f"{FORMAT}. Upgrade with `pip install --upgrade agenttts`."
        )
    known = {
        "": KEYS,
        "measured": (*(one.name for one in fields(Measured)), "token_counts", "figures_from"),
        "search": tuple(one.name for one in fields(Provenance)),
    }
    if unknown := unknown_keys(text, data, known, name):
        raise PlanError("\n".join(unknown))
    return data


def _mapping(data: Any) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    raise InputError(f"the stored task cannot be read: expected a mapping, got {type(data).__name__}")


def _read(kind: type[Any], data: Any) -> Any:
    if data is None:
        return None
    known = {one.name for one in fields(kind)}
    return kind(**{key: value for key, value in data.items() if key in known})


def _read_budget(data: Any) -> Budget | None:
    return None if data is None else Budget(float(data["amount"]), Unit(data["unit"]))


def _read_measured(data: Any) -> Measured | None:
    read: Measured | None = _read(Measured, data)
    if read is None:
        return None
    return replace(read, counted_by={model: tuple(names) for model, names in read.counted_by.items()})


def _read_messages(data: Any) -> dict[str, str]:
    return {str(name): str(source) for name, source in (data or {}).items()}


def _read_provenance(data: Any) -> Provenance:
    if data is None:
        return Provenance()
    return Provenance(
        **{**{key: data[key] for key in data if key != "spent"}, "spent": _read(Cost, data.get("spent"))}
    )


def _plain(value: Any) -> Any:
    """Return the value as YAML knows it: no tuples, no enumerations, no numbers of other libraries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return value.item() if hasattr(value, "item") else value


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines (prompts) as they are read."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        block = "\n" in value and value.isascii() and " \n" not in value
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if block else None)

    Dumper.add_representer(str, text)
    return Dumper
