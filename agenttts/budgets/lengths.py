"""How long prompts and completions are, per stage and model: a prior from the task, then what draws show.

Lengths are kept as counts of each value, so the order in which draws arrive changes nothing. What a choice of a stage
costs on average follows from them (`expected_cost`); what it costs at worst counts on `max_tokens`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.calibration import PROCEDURES, WRITES, Calibration
from agenttts.budgets.cost import Cost, Unit, amount, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.forecast import Billing, ForecastCall, Known, stage_calls
from agenttts.budgets.run_shares import RunShares, chance_below
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.options import queries_of
from agenttts.task.ways import the

if TYPE_CHECKING:
    from agenttts.task.schema import SamplingBlock, SelectBlock, StageBlock, TaskFile
    from agenttts.task.task import Task

__all__ = ["Distribution", "Lengths", "Part"]

Part = Literal["prefill", "decode"]
Place = tuple[str, str]

DEFAULT_PREFILL_TOKENS = 512
"""Assumed for a prompt that nothing is known about."""
PRIOR_WEIGHT = 4.0
"""Observations that an informed expectation (of the task file, or a rendered prompt) counts as."""
DEFAULT_STEPS = 8.0
"""Of a completion, for searches over steps."""
BOUND_GONE_AFTER = 4
"""Observations after which a default that informs little (`max_tokens`, 512) no longer counts at all. It is a bound
rather than a belief: kept on as a prior it would make short answers look several times too dear."""


@dataclass(frozen=True)
class Distribution:
    """A discrete law of token counts."""

    values: tuple[float, ...]
    """Rising, shape (n_values,)."""
    weights: tuple[float, ...]
    """Probabilities, adding up to 1, shape (n_values,)."""

    @classmethod
    def point(cls, value: float) -> Distribution:
        """Return the law of a certain value."""
        return cls((float(value),), (1.0,))

    @classmethod
    def of(cls, weighted: Mapping[float, float]) -> Distribution:
        """Return the law that gives each value a share of its weight; the weights need not add up to 1."""
        whole = sum(weighted.values())
        rising = sorted((value, weight / whole) for value, weight in weighted.items() if weight > 0)
        return cls(tuple(float(value) for value, _ in rising), tuple(weight for _, weight in rising))

    @cached_property
    def mean(self) -> float:
        """Expected value."""
        return sum(value * weight for value, weight in self._items())

    @cached_property
    def mean_square(self) -> float:
        """Expected square, for attention, which grows with it."""
        return sum(value * value * weight for value, weight in self._items())

    @property
    def variance(self) -> float:
        """Expected squared distance from the mean."""
        return max(0.0, self.mean_square - self.mean**2)

    def quantile(self, q: float) -> float:
        """Return the smallest value that a draw does not pass with probability `q`, in (0, 1]."""
        if not 0 < q <= 1:
            raise ValueError(f"expected a quantile in (0, 1], got {q}")
        reached = 0.0
        for value, weight in self._items():
            reached += weight
            if reached >= q - 1e-12:  # sums of shares are off by the last bits
                return value
        return self.values[-1]

    def mean_max(self, n: int) -> float:
        """Return the expected largest of `n` independent draws; of few observations it is an underestimate."""
        if n < 1:
            raise ValueError(f"expected at least one draw, got {n}")
        cumulated = [0.0]
        for weight in self.weights:
            cumulated.append(min(1.0, cumulated[-1] + weight))
        cumulated[-1] = 1.0
        steps = pairwise(share**n for share in cumulated)
        return sum(value * (upper - lower) for value, (lower, upper) in zip(self.values, steps, strict=True))

    def _items(self) -> Iterable[tuple[float, float]]:
        return zip(self.values, self.weights, strict=True)


@dataclass(frozen=True)
class _Prior:
    value: float
    informed: bool

    def weight(self, n_observed: int) -> float:
        """Return the share of the prior, in [0, 1], beside `n_observed` observations."""
        if self.informed:
            return PRIOR_WEIGHT / (PRIOR_WEIGHT + n_observed)
        return max(0.0, 1 - n_observed / BOUND_GONE_AFTER)


class Lengths:
    """Token counts of the LLM stages of one task.

    Before anything was drawn, a prompt counts as long as the task file says (`lengths.prefill_tokens`), else as
    rendered prompts show, else 512 tokens; a completion as the task file says, else `max_tokens`.

    Args:
        file: The task, with its stages in the order of running.
        rendered_prefill: (stage, model) -> mean tokens of rendered prompts, where they could be rendered.
        recorded: (part, stage, model) -> mean tokens of recorded draws; they come before all of these.
    """

    def __init__(
        self,
        file: TaskFile,
        rendered_prefill: Mapping[Place, float] | None = None,
        recorded: Mapping[tuple[Part, str, str], float] | None = None,
    ) -> None:
        self.file = file
        self.run_shares = RunShares(file)
        """How often the stages run that run on a condition, and the votes that say so."""
        self.runs_per_problem: Mapping[str, float] = {}
        """How often stages that problems share run per search problem; of those not named nothing is known."""
        self.calibration = Calibration()
        """What ways really cost whose forecast is an upper one."""
        self._steps: dict[tuple[str, str], Counter[int]] = {}
        self._stops: dict[tuple[str, str, int, float, int], tuple[float, float]] = {}
        self._rendered = dict(rendered_prefill or {})
        self._recorded = dict(recorded or {})
        self._counts: dict[tuple[Part, str, str], Counter[int]] = {}
        self._laws: dict[tuple[Part, str, str], Distribution] = {}

    @classmethod
    def of_task(
        cls,
        task: Task,
        rendered_prefill: Mapping[Place, float] | None = None,
        recorded: Mapping[tuple[Part, str, str], float] | None = None,
    ) -> Lengths:
        """Return the lengths of a loaded task, with nothing observed yet."""
        from agenttts.task.sharing import contexts_per_problem

        lengths = cls(task.file, rendered_prefill, recorded)
        if any(block.shared_by is not None for block in task.file.stages.values()):
            lengths.runs_per_problem = contexts_per_problem(task.file, task.search)
        return lengths

    def observe(self, stage: str, model: str, prefill_tokens: int, decode_tokens: int) -> None:
        """Take note of one draw: the tokens of its prompt and of its completion."""
        self.observe_counts(stage, model, prefill={prefill_tokens: 1}, decode={decode_tokens: 1})

    def observe_counts(
        self,
        stage: str,
        model: str,
        *,
        prefill: Mapping[int, int],
        decode: Mapping[int, int],
        steps: Mapping[int, int] | None = None,
    ) -> None:
        """Take note of many draws: tokens -> how often, of prompts and of completions; steps -> how often."""
        if steps:
            self._steps.setdefault((stage, model), Counter()).update(steps)
        parts: tuple[tuple[Part, Mapping[int, int]], ...] = (("prefill", prefill), ("decode", decode))
        for part, seen in parts:
            self._counts.setdefault((part, stage, model), Counter()).update(seen)
            self._laws.pop((part, stage, model), None)

    def n_observed(self, stage: str, model: str) -> int:
        """Return how many draws were observed."""
        return self._counts.get(("decode", stage, model), Counter()).total()

    def law(self, stage: str, model: str, part: Part = "decode") -> Distribution:
        """Return the law of prompt (`prefill`) or completion (`decode`) lengths, shrunk to the prior."""
        key = (part, stage, model)
        if key not in self._laws:
            self._laws[key] = self._blend(key)
        return self._laws[key]

    def mean(self, stage: str, model: str, part: Part = "decode") -> float:
        """Return the expected tokens."""
        return self.law(stage, model, part).mean

    def quantile(self, stage: str, model: str, q: float, part: Part = "decode") -> float:
        """Return the tokens not passed with probability `q`."""
        return self.law(stage, model, part).quantile(q)

    def mean_max(self, stage: str, model: str, n_samples: int) -> float:
        """Return the expected tokens of the longest of `n_samples` completions: what latency waits for."""
        return self.law(stage, model).mean_max(n_samples)

    def worst(self, stage: str, model: str, part: Part) -> float:
        """Return the most tokens to count on.

        A completion: `max_tokens`. A prompt: the longest seen; before any was seen, the expected one and `max_tokens`
        of every stage whose answer it may quote.
        """
        block = self.file.stages[stage]
        if part == "decode":
            return float(block.sampling_of(model).max_tokens)
        seen = self._counts.get(("prefill", stage, model))
        if seen:
            return float(max(seen))
        quoted = [self.file.stages[need] for need in block.needs]
        upstream = sum(_longest(need) for need in quoted if need.asks_model)
        return self._prior(("prefill", stage, model)).value + upstream

    def expected_calls(
        self,
        cost_model: CostModel,
        choice: StageChoice,
        select: SelectBlock | None = None,
        *,
        billing: Billing = "charged",
    ) -> tuple[ForecastCall, ...]:
        """Return the calls that a choice is expected to make for one problem (see `forecast.stage_calls`).

        These and all costs here are of a problem on which the stage runs; see `run_share`. Of a stage that problems
        share these are the calls of one run; costs are the part of one problem, see `per_problem`.
        """
        select = select or self.select_block(choice)
        answer = self.law(choice.stage, choice.model, "decode")
        known = Known(
            card=cost_model.card(choice.model),
            prompt=self.law(choice.stage, choice.model, "prefill"),
            answer=answer,
            fused=_at_most(answer, select.sampling if select is not None else None),
            criticism=_at_most(answer, _critic_sampling(select)),
            n_steps=self.n_steps(choice.stage, choice.model),
            system=_system(self.file.stages[choice.stage]),
            cards=cost_model.cards,
        )
        return stage_calls(choice, select, self._with_votes(known, cost_model, choice, select), billing)

    def worst_calls(
        self,
        cost_model: CostModel,
        choice: StageChoice,
        select: SelectBlock | None = None,
        *,
        billing: Billing = "charged",
    ) -> tuple[ForecastCall, ...]:
        """Return the same with every length at its worst, and nothing stopped early."""
        select = select or self.select_block(choice)
        answer = Distribution.point(self.worst(choice.stage, choice.model, "decode"))
        own = select.sampling if select is not None else None
        critic = _critic_sampling(select)
        known = Known(
            card=cost_model.card(choice.model),
            prompt=Distribution.point(self.worst(choice.stage, choice.model, "prefill")),
            answer=answer,
            fused=answer if own is None else Distribution.point(own.max_tokens),
            criticism=answer if critic is None else Distribution.point(critic.max_tokens),
            n_steps=answer.mean,  # a step has a token at least
            system=_system(self.file.stages[choice.stage]),
            cards=cost_model.cards,
            at_worst=True,
        )
        if select is not None and select.kind == "cascade":
            longest = Distribution.point(self.worst(choice.stage, the(select.to or ()), "decode"))
            known = replace(known, other=(cost_model.card(the(select.to or ())), longest))
        return stage_calls(choice, select, known, billing)

    def expected_cost(
        self, cost_model: CostModel, choice: StageChoice, unit: Unit, select: SelectBlock | None = None
    ) -> float:
        """Return what a stage's choice is expected to be charged for one problem, fusion and verifiers included.

        Args:
            cost_model: Prices the tokens.
            choice: Model, number of samples and selector of the stage.
            unit: What to count in.
            select: The selector; `None`: looked up in the task by the choice's label.

        Raises:
            CardError: A card lacks what the unit needs.
        """
        return amount(self.expected(cost_model, choice, select), unit)

    def expected(self, cost_model: CostModel, choice: StageChoice, select: SelectBlock | None = None) -> Cost:
        """Return the same as a cost vector.

        Raises:
            CardError: There is no card for the model or the verifier's model.
        """
        select = select or self.select_block(choice)

        def forecast(other: StageChoice) -> Cost:
            calls = self.expected_calls(cost_model, other, select if other == choice else None)
            return total(call.cost(cost_model) for call in calls).scaled(self.per_problem(other.stage))

        if select is None or not _hangs_on_texts(select):
            return forecast(choice)
        return self.calibration.corrected(choice, forecast(choice), forecast)

    def n_steps(self, stage: str, model: str) -> float:
        """Return the expected steps of a completion: as seen, else as the task says, else 8."""
        seen = self._steps.get((stage, model))
        given = self.file.stages[stage].lengths.steps or DEFAULT_STEPS
        return sum(n * often for n, often in seen.items()) / seen.total() if seen else given

    def run_share(self, allocation: Allocation, choice: StageChoice) -> float:
        """Return the share of problems on which a stage of an allocation is expected to run."""
        return self.run_shares.expected(allocation, choice.stage)

    def run_share_spent(self, allocation: Allocation, choice: StageChoice) -> float:
        """Return how often a stage is expected to run per search problem: one that problems share, once per context."""
        runs = self.runs_per_problem.get(choice.stage, self.per_problem(choice.stage))
        return runs * self.run_share(allocation, choice)

    def largest_run_share(self, allocation: Allocation, choice: StageChoice) -> float:
        """Return the largest share of problems on which a stage of an allocation can run: 0 where it never does."""
        return self.run_shares.largest(allocation, choice.stage)

    def per_problem(self, stage: str) -> float:
        """Return the part of a stage's run that each problem is charged with: of one that problems share, less than 1."""
        return 1 / queries_of(self.file.stages[stage].shared_by)

    def select_block(self, choice: StageChoice) -> SelectBlock | None:
        """Return the selector that a choice names; `None` for `first` where the task does not list it."""
        if choice.n_samples == 1:
            return None
        ways = self.file.stages[choice.stage].ways
        return next((way for way in ways if way.name == choice.select), None)

    def _with_votes(
        self, known: Known, cost_model: CostModel, choice: StageChoice, select: SelectBlock | None
    ) -> Known:
        """Return what is known with what votes tell: how soon a vote stops, how often a cascade escalates."""
        if select is None or select.kind not in {"adaptive_vote", "cascade"}:
            return known
        votes = self.run_shares.votes(choice.stage, choice.model, choice.n_samples)
        if select.kind == "adaptive_vote":
            return replace(known, stop=self._stop(votes, choice, the(select.confidence))) if votes else known
        to, below = the(select.to or ()), the(select.below)
        known = replace(known, other=(cost_model.card(to), self.law(choice.stage, to, "decode")))
        if select.verifier is not None or not votes:
            return known
        chances = [chance_below(codes, choice.n_samples, below) for codes in votes]
        return replace(known, escalates=sum(chances) / len(chances))

    def _stop(
        self, votes: Sequence[Sequence[int]], choice: StageChoice, confidence: float
    ) -> tuple[float, float]:
        from agenttts.budgets.stopping import expected_stop

        # More votes come with more problems or more draws of one; their number tells.
        seen = sum(map(len, votes))
        key = (choice.stage, choice.model, choice.n_samples, confidence, seen)
        if key not in self._stops:
            self._stops[key] = expected_stop(votes, choice.n_samples, confidence)
        return self._stops[key]

    def _blend(self, key: tuple[Part, str, str]) -> Distribution:
        prior, counts = self._prior(key), self._counts.get(key, Counter())
        weight = prior.weight(counts.total())
        blended = {float(tokens): (1 - weight) * n / counts.total() for tokens, n in counts.items()}
        blended[prior.value] = blended.get(prior.value, 0.0) + weight
        return Distribution.of(blended)

    def _prior(self, key: tuple[Part, str, str]) -> _Prior:
        part, stage, model = key
        block = self.file.stages[stage]
        if key in self._recorded:
            return _Prior(self._recorded[key], informed=True)
        if part == "decode":
            return _given_or(block.decode_tokens_of(model), block.sampling_of(model).max_tokens)
        given = block.lengths.prefill_tokens or self._rendered.get((stage, model))
        return _given_or(given, DEFAULT_PREFILL_TOKENS)


def _hangs_on_texts(select: SelectBlock) -> bool:
    """Return whether the cost of a way hangs on what models write, and not on lengths alone."""
    writes = select.verifier is not None and select.verifier.kind in WRITES
    return writes or select.kind in PROCEDURES


def _longest(block: StageBlock) -> int:
    """Return the most tokens of a stage's completion, whatever its model and mode."""
    return max(block.sampling_of(variant).max_tokens for variant in block.variants)


def _critic_sampling(select: SelectBlock | None) -> SamplingBlock | None:
    return select.critic.sampling if select is not None and select.critic is not None else None


def _at_most(law: Distribution, sampling: SamplingBlock | None) -> Distribution:
    """Return a law of completions, cut off where their own sampling cuts them off."""
    if sampling is None:
        return law
    cut: Counter[float] = Counter()
    for value, weight in zip(law.values, law.weights, strict=True):
        cut[min(value, float(sampling.max_tokens))] += weight  # type: ignore[assignment]
    return Distribution.of(cut)


def _system(block: StageBlock) -> str:
    return (block.prompt.system or "") if block.prompt is not None else ""


def _given_or(given: float | None, default: float) -> _Prior:
    return (
        _Prior(float(given), informed=True) if given is not None else _Prior(float(default), informed=False)
    )
