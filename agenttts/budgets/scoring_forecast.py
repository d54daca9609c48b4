"""What scoring by models costs: judges, reward and embedding models that score answers against gold or for figures.

No plan is charged for it, and a study pays for it all the same. Pure: counts of questions and tokens, nothing is asked.
Rules cost nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agenttts.budgets.forecast import ForecastCall, Known, verifier_calls
from agenttts.budgets.run_shares import pilot_samples
from agenttts.budgets.verifier_forecast import asked_of
from agenttts.pipeline.base import Allocation, StageChoice

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.lengths import Distribution, Lengths
    from agenttts.task.schema import StageScoreBlock, TaskFile
    from agenttts.task.ways import VerifierBlock

__all__ = ["Scored", "ScoringForecast", "scored_by_models"]

NEW_ANSWERS = frozenset(
    {"fusion", "agreed_fusion", "refine", "beam", "dvts", "tree", "cascade", "adaptive_vote"}
)
"""Ways whose answer may be none of the plain samples of a stage."""

Portion = tuple[ForecastCall, float]
Share = Callable[[Allocation, StageChoice], float]


@dataclass(frozen=True)
class Scored:
    """One thing that a model scores."""

    stage: str
    verifier: VerifierBlock
    samples: bool = False
    """All samples of the stage are scored, not the selected answer alone."""
    at_end: bool = False
    """In the confirmation alone: a measure."""

    @property
    def compares(self) -> bool:
        """What a sample is worth hangs on those beside it, so that a score serves one set of samples alone."""
        return self.samples and self.verifier.kind == "judge" and self.verifier.form != "pointwise"


def scored_by_models(file: TaskFile) -> tuple[Scored, ...]:
    """Return what models score in a task: the final answer, answers and samples of stages, measures."""
    last = list(file.stages)[-1]
    found = [Scored(file.score.stage or last, file.score.verifier)]
    blocks: Iterable[tuple[str, StageScoreBlock | None]] = (
        (name, stage.score) for name, stage in file.stages.items()
    )
    found += [Scored(name, block.verifier, samples=True) for name, block in blocks if block is not None]
    found += [Scored(one.stage or last, one.verifier, at_end=True) for one in file.measures.values()]
    return tuple(one for one in found if next(asked_of(one.verifier, 1, 1.0, 1.0), None) is not None)


@dataclass(frozen=True)
class ScoringForecast:
    """Calls of whatever scores, with how often each is made for one problem.

    Equal answers are scored once, and no score is paid for twice; how many answers are equal is not known before they
    are drawn, so all figures take them to differ.
    """

    lengths: Lengths
    cost_model: CostModel
    share: Share
    at_worst: bool = False

    @property
    def of(self) -> tuple[Scored, ...]:
        """What models score."""
        return scored_by_models(self.lengths.file)

    def anew(self, allocation: Allocation, *, at_end: bool = False) -> Iterator[Portion]:
        """Yield the calls of one problem under an allocation if no score is known; `at_end`: with measures."""
        for one in self.of:
            if not one.at_end or at_end:
                choice = _choice(allocation, one.stage)
                yield from self._calls(
                    one, choice, self._n_answers(one, choice), self._often(one, allocation)
                )

    def pilot(self) -> Iterator[Portion]:
        """Yield the calls of one problem of the pilot, in which every model takes part at every stage."""
        stages = {name: block for name, block in self.lengths.file.stages.items() if block.asks_model}
        for turn in range(max((len(block.variants) for block in stages.values()), default=0)):
            choices = (
                StageChoice(
                    name,
                    block.variants[turn % len(block.variants)],
                    pilot_samples(self.lengths.file, name),
                    "first",
                )
                for name, block in stages.items()
            )
            yield from self.anew(Allocation(tuple(choices)))

    def reused(
        self, allocations: Iterable[Allocation], before: Callable[[Allocation, str], object]
    ) -> Iterator[Portion]:
        """Yield the calls of one problem under allocations after one another, where each score is paid for once.

        Args:
            allocations: Of the trials.
            before: What the prompts of a stage depend on.
        """
        listed = list(allocations)
        for one in (one for one in self.of if not one.at_end):
            if one.compares:
                for allocation in listed:
                    choice = _choice(allocation, one.stage)
                    yield from self._calls(
                        one, choice, self._n_answers(one, choice), self._often(one, allocation)
                    )
            else:
                yield from self._distinct(one, listed, before)

    def _distinct(
        self, one: Scored, allocations: list[Allocation], before: Callable[[Allocation, str], object]
    ) -> Iterator[Portion]:
        streams: dict[object, _Stream] = {}
        for allocation in allocations:
            choice = _choice(allocation, one.stage)
            key = (None if choice is None else choice.model, before(allocation, one.stage))
            stream = streams.setdefault(key, _Stream(choice))
            stream.add(choice, makes_new=self._makes_new(choice), often=self._often(one, allocation))
        for stream in streams.values():
            n = stream.n_held if one.samples else min(stream.n_trials, stream.n_held)
            yield from self._calls(one, stream.choice, n, stream.often)

    def _n_answers(self, one: Scored, choice: StageChoice | None) -> int:
        if not one.samples or choice is None:
            return 1
        return choice.n_samples + self._makes_new(choice)

    def _makes_new(self, choice: StageChoice | None) -> bool:
        if choice is None:
            return False
        way = self.lengths.select_block(choice)
        return way is not None and way.kind in NEW_ANSWERS

    def _often(self, one: Scored, allocation: Allocation) -> float:
        choice = _choice(allocation, one.stage)
        return self.share(allocation, choice) if one.samples and choice is not None else 1.0

    def _calls(self, one: Scored, choice: StageChoice | None, n: int, times: float) -> Iterator[Portion]:
        prompt, answer, steps = self._texts(one.stage, choice)
        known = Known(
            card=self.cost_model.card(one.verifier.model or "tiny/prm"),
            prompt=prompt,
            answer=answer,
            fused=answer,
            n_steps=steps,
            cards=self.cost_model.cards,
            at_worst=self.at_worst,
        )
        yield from ((call, times) for call in verifier_calls(one.verifier, known, n))

    def _texts(self, stage: str, choice: StageChoice | None) -> tuple[Distribution, Distribution, float]:
        """Return the prompt and the answer that a scorer reads, and the answer's steps."""
        from agenttts.budgets.lengths import Distribution

        lengths = self.lengths
        if choice is None:  # a function or a test: it has no prompt, and says about what it was given
            asked = [
                need for need in lengths.file.stages[stage].needs if lengths.file.stages[need].asks_model
            ]
            read = sum(
                max(self._answer(need, m) for m in lengths.file.stages[need].variants) for need in asked
            )
            return Distribution.point(0), Distribution.point(max(1.0, read)), lengths.n_steps(stage, "")
        if self.at_worst:
            prompt = Distribution.point(lengths.worst(stage, choice.model, "prefill"))
            answer = Distribution.point(self._answer(stage, choice.model))
            return prompt, answer, answer.mean
        steps = lengths.n_steps(stage, choice.model)
        return lengths.law(stage, choice.model, "prefill"), lengths.law(stage, choice.model), steps

    def _answer(self, stage: str, model: str) -> float:
        return (
            self.lengths.worst(stage, model, "decode") if self.at_worst else self.lengths.mean(stage, model)
        )


@dataclass
class _Stream:
    """Answers of a stage that may be equal from trial to trial."""

    choice: StageChoice | None
    n_trials: int = 0
    n_samples: int = 1
    n_new: int = 0
    often: float = 0.0

    @property
    def n_held(self) -> int:
        return self.n_samples + self.n_new

    def add(self, choice: StageChoice | None, *, makes_new: bool, often: float) -> None:
        self.n_trials += 1
        self.n_samples = max(self.n_samples, 1 if choice is None else choice.n_samples)
        self.n_new += makes_new
        self.often = max(self.often, often)


def _choice(allocation: Allocation, stage: str) -> StageChoice | None:
    return next((choice for choice in allocation.choices if choice.stage == stage), None)
