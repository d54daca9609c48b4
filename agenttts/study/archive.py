"""What a study has learnt: trials, and the archive of them that allocators read.

Values only: how a trial is made lives in `evaluate`, how it is kept in `events`. The archive is the only state that an
allocator sees; it is the same whatever the order in which results came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from agenttts.budgets.cost import Cost
from agenttts.pipeline.base import Allocation, CostPart, Failure

if TYPE_CHECKING:
    from agenttts.allocators.base import Insight, Sketch

__all__ = [
    "Archive",
    "Histogram",
    "ProblemFailure",
    "Runaway",
    "StageLengths",
    "Trial",
    "TrialStatus",
    "Unparsed",
    "Unscored",
]

TrialStatus = Literal["ok", "invalid", "over_budget", "stopped"]
"""`ok`; `invalid`: too many problems failed, so neither good nor bad; `over_budget`: its measured cost passes the
budget, so it teaches but cannot win; `stopped`: racing ended it after part of the problems because it was surely worse
than the best or surely over the budget, so it teaches (see `Archive.estimate`) but cannot win. A trial that was cut
off by anything else is no trial: it is never scored and never enters."""

Histogram = Mapping[int, int]
"""Number of tokens -> how often."""
NEARLY_ALL = 0.9
"""Share of the problems for which draws must be there to count as held."""
VOTE_SIGNS = "0123456789abcdefghijklmnopqrstuvwxyz"
CODES = {sign: code for code, sign in enumerate(VOTE_SIGNS)}
RIGHT_OR_WRONG = {"0": 0.0, "1": 1.0}
MOST_INVALID_TRIES = 2
"""An allocation whose trial was invalid may be tried once more: the outage may be over."""


@dataclass(frozen=True, slots=True)
class ProblemFailure:
    """A problem without a score."""

    problem_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class StageLengths:
    """Lengths seen at one stage: the prompts, and the completions drawn."""

    model: str
    prefill: Histogram
    """One entry per prompt."""
    decode: Histogram
    """One entry per sample."""
    steps: Histogram = field(default_factory=dict)
    """Steps of each sample, at stages whose ways search over steps."""
    spread: float | None = None
    """Standard deviation of `decode` among samples of the same problem, pooled over problems; `None`: unknown."""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """How many samples of one stage its parse rule found no answer in."""

    model: str
    n: int
    n_samples: int
    example: str = ""
    """Beginning of such a reply, as the model wrote it; empty where none was selected."""

    @property
    def share(self) -> float:
        """Share of the samples."""
        return self.n / self.n_samples


@dataclass(frozen=True, slots=True)
class Unscored:
    """How many of the samples that one stage sent to its way's verifier got no score."""

    select: str
    """Label of the way."""
    n: int
    n_samples: int
    """Samples sent: those without an answer are not; of a search over steps these are beginnings of replies."""
    example: str = ""
    """Beginning of a cause; it may hold what a model wrote."""

    @property
    def share(self) -> float:
        """Share of the samples."""
        return self.n / self.n_samples

    def __add__(self, other: Unscored) -> Unscored:
        """Return both together, of the same way."""
        example = self.example if self.n else other.example
        return Unscored(self.select, self.n + other.n, self.n_samples + other.n_samples, example)


@dataclass(frozen=True, slots=True)
class Runaway:
    """How many samples of one stage hit their token limit before they ended."""

    model: str
    n: int
    n_samples: int

    @property
    def share(self) -> float:
        """Share of the samples."""
        return self.n / self.n_samples


@dataclass(frozen=True)
class Trial:
    """One evaluated allocation."""

    number: int
    """Counted from 0, in the order of proposing."""
    allocation: Allocation
    status: TrialStatus
    scores: Mapping[str, float]
    """Final score in [0, 1] by problem id, for the problems that have one."""
    charged: float
    """Mean charged cost of a scored problem, in the unit of the budget."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Mean charged cost of a scored problem by stage."""
    stage_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Stage -> problem id -> score of the selected answer, for stages with gold."""
    sample_scores: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    """Stage -> problem id -> score of each sample, for stages with gold."""
    verifier_scores: Mapping[str, Mapping[str, tuple[float | None, ...]]] = field(default_factory=dict)
    """Stage -> problem id -> what the selecting verifier gave each of the same samples, `None` is unscored, rounded
    to four significant digits; for stages where one took part. Older logs lack it."""
    failures: tuple[ProblemFailure, ...] = ()
    origin: str = ""
    """Name of the allocator that proposed it."""
    reason: str = ""
    repaired: str = ""
    lengths: Mapping[str, StageLengths] = field(default_factory=dict)
    n_paid: int = 0
    """Draws paid for by this trial (in a batch: by whichever trial asked first). Where it was `resumed`, only those
    of the last attempt."""
    n_reused: int = 0
    """Draws that were held already. Where it was `resumed`, also those that an earlier attempt of it paid for."""
    resumed: bool = False
    """Whether an earlier attempt at this trial may have been cut off, after it had paid for some draws: the store
    bills studies and not trials, so nobody knows for how many. Older logs do not tell."""
    unparsed: Mapping[str, Unparsed] = field(default_factory=dict)
    """By stage."""
    runaway: Mapping[str, Runaway] = field(default_factory=dict)
    """By stage. Older logs lack it."""
    unscored: Mapping[str, Unscored] = field(default_factory=dict)
    """By stage, for those that sent samples to a verifier. Older logs lack it. A trial stays valid where the verifier
    scored nothing at all: production would do what it did."""
    counted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model -> what counted its tokens, where that was not the endpoint itself (`CallUsage.counted_by`)."""
    stopped_because: str = ""
    """Why racing stopped it; empty for all others."""
    prompts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Stage -> problem id -> digest of its prompt, for stages that build on others (see `Rollout.prompts`)."""
    estimated_from: Mapping[str, int] = field(default_factory=dict)
    """Stage -> most draws that a problem's score was averaged over (see `agenttts.study.averaging`): its own samples
    and those that earlier trials left. Stages that are not named were scored on their own samples alone."""
    votes: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """Stage -> problem id -> answer code of each sample in drawing order, -1 where parsing failed; equal codes of one
    problem are one answer. Of stages that the `when` of another one watches, whose votes tell what they cost, or that have
    gold and drew several samples."""
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Stage that runs on a condition -> problem id -> what its `when` measured, where that is known."""
    parts: Mapping[str, tuple[CostPart, ...]] = field(default_factory=dict)
    """`costs` by model and purpose, reading and writing apart. Older logs lack it."""

    @cached_property
    def score(self) -> float:
        """Mean score over the scored problems.

        Raises:
            ValueError: No problem was scored.
        """
        if not self.scores:
            raise ValueError(f"trial {self.number} has no scored problem")
        # Summed in the order of ids, so that the same scores give the same mean to the last bit.
        return sum(self.scores[name] for name in sorted(self.scores)) / len(self.scores)

    @property
    def n_failed(self) -> int:
        """Problems without a score."""
        return len(self.failures)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `from_json` reads it back."""
        return {
            "number": self.number,
            "allocation": self.allocation.to_json(),
            "status": self.status,
            "scores": dict(self.scores),
            "charged": self.charged,
            "costs": {stage: cost_to_json(cost) for stage, cost in self.costs.items()},
            "parts": {stage: [part_to_json(part) for part in parts] for stage, parts in self.parts.items()},
            "stage_scores": {stage: dict(scores) for stage, scores in self.stage_scores.items()},
            "sample_scores": {
                stage: {name: pack_scores(scores) for name, scores in by_problem.items()}
                for stage, by_problem in self.sample_scores.items()
            },
            "verifier_scores": {
                stage: {name: list(scores) for name, scores in by_problem.items()}
                for stage, by_problem in self.verifier_scores.items()
            },
            "failures": [failure_to_json(entry) for entry in self.failures],
            "origin": self.origin,
            "reason": self.reason,
            "repaired": self.repaired,
            "lengths": {stage: lengths_to_json(lengths) for stage, lengths in self.lengths.items()},
            "n_paid": self.n_paid,
            "n_reused": self.n_reused,
            "resumed": self.resumed,
            "unparsed": {stage: asdict(entry) for stage, entry in self.unparsed.items()},
            "runaway": {stage: asdict(entry) for stage, entry in self.runaway.items()},
            "unscored": {stage: asdict(entry) for stage, entry in self.unscored.items()},
            "counted_by": {model: list(names) for model, names in self.counted_by.items()},
            "stopped_because": self.stopped_because,
            "prompts": {stage: dict(digests) for stage, digests in self.prompts.items()},
            "estimated_from": dict(self.estimated_from),
            "votes": {
                stage: {name: pack_votes(codes) for name, codes in by_problem.items()}
                for stage, by_problem in self.votes.items()
            },
            "measured": {stage: dict(values) for stage, values in self.measured.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Read what `to_json` wrote."""
        return cls(
            **{
                **data,
                "allocation": Allocation.from_json(data["allocation"]),
                "costs": {stage: Cost(**cost) for stage, cost in data["costs"].items()},
                "parts": {
                    stage: tuple(part_from_json(part) for part in parts)
                    for stage, parts in data.get("parts", {}).items()
                },
                "sample_scores": {
                    stage: {name: unpack_scores(scores) for name, scores in by_problem.items()}
                    for stage, by_problem in data["sample_scores"].items()
                },
                "failures": tuple(failure_from_json(entry) for entry in data["failures"]),
                "lengths": {stage: lengths_from_json(lengths) for stage, lengths in data["lengths"].items()},
                # Older logs lack these.
                "verifier_scores": {
                    stage: {name: tuple(scores) for name, scores in by_problem.items()}
                    for stage, by_problem in data.get("verifier_scores", {}).items()
                },
                "runaway": {stage: Runaway(**entry) for stage, entry in data.get("runaway", {}).items()},
                "unparsed": {stage: Unparsed(**entry) for stage, entry in data.get("unparsed", {}).items()},
                "unscored": {stage: Unscored(**entry) for stage, entry in data.get("unscored", {}).items()},
                "counted_by": {model: tuple(names) for model, names in data.get("counted_by", {}).items()},
                "votes": votes_from_json(data.get("votes", {})),
            }
        )


@dataclass(frozen=True)
class Archive:
    """Trials in the order of their numbers, and what planners left behind."""

    trials: tuple[Trial, ...] = ()
    insights: tuple[Insight, ...] = ()
    """Of all rounds so far, oldest first."""
    sketches: tuple[Sketch, ...] = ()
    """Of all rounds so far, oldest first: later ones of the same stage and model replace earlier ones."""
    memory: tuple[Mapping[str, Any], ...] = ()
    """`Turn.memory` of each round so far that was planned by a conversation, oldest first."""

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> Archive:
        """Return the archive of trials that may come in any order."""
        return cls(tuple(sorted(trials, key=lambda trial: trial.number)))

    def with_trials(self, trials: Iterable[Trial]) -> Archive:
        """Return the same archive with more trials."""
        return replace(self, trials=Archive.of([*self.trials, *trials]).trials)

    def with_turn(
        self, insights: Iterable[Insight], sketches: Iterable[Sketch], memory: Mapping[str, Any]
    ) -> Archive:
        """Return the same archive with what a conversation left behind."""
        return replace(
            self,
            insights=(*self.insights, *insights),
            sketches=(*self.sketches, *sketches),
            memory=(*self.memory, memory),
        )

    @cached_property
    def _full_means(self) -> Mapping[str, float]:
        """Mean score by problem over the trials that saw every problem."""
        full = [trial for trial in self.valid if trial.status != "stopped"]
        sums: dict[str, list[float]] = {}
        for trial in full:
            for name, score in trial.scores.items():
                sums.setdefault(name, []).append(score)
        return {name: sum(scores) / len(scores) for name, scores in sums.items()}

    def estimate(self, trial: Trial) -> float:
        """Return a trial's score as an estimate for all problems.

        For a stopped trial the problems it saw may be easier or harder than the rest: the difference is taken from
        the trials that saw all of them. For others it is `Trial.score`.
        """
        means = self._full_means
        seen = [name for name in sorted(trial.scores) if name in means]
        if trial.status != "stopped" or not seen:
            return trial.score
        shift = sum(means.values()) / len(means) - sum(means[name] for name in seen) / len(seen)
        return min(1.0, max(0.0, trial.score + shift))

    @cached_property
    def valid(self) -> tuple[Trial, ...]:
        """Trials with a score that means something: all but `invalid`. For `stopped` ones read `estimate`."""
        return tuple(trial for trial in self.trials if trial.status != "invalid" and trial.scores)

    @cached_property
    def ranked(self) -> tuple[Trial, ...]:
        """Trials that may win, best first: higher mean score, then cheaper, then earlier."""
        ok = (trial for trial in self.trials if trial.status == "ok" and trial.scores)
        return tuple(sorted(ok, key=lambda trial: (-trial.score, trial.charged, trial.number)))

    def best(self) -> Trial | None:
        """Return the trial with the highest mean score within the budget; ties go to the cheaper, then the earlier."""
        return self.ranked[0] if self.ranked else None

    def runner_up(self) -> Trial | None:
        """Return the next best trial of another allocation."""
        best = self.best()
        others = (trial for trial in self.ranked if best is not None and trial.allocation != best.allocation)
        return next(others, None)

    @cached_property
    def tried(self) -> frozenset[Allocation]:
        """Allocations that need no further trial: scored, or invalid twice."""
        failed: dict[Allocation, int] = {}
        for trial in self.trials:
            if trial.status == "invalid":
                failed[trial.allocation] = failed.get(trial.allocation, 0) + 1
        given_up = {allocation for allocation, n in failed.items() if n >= MOST_INVALID_TRIES}
        return frozenset({trial.allocation for trial in self.valid} | given_up)

    @cached_property
    def held(self) -> Mapping[tuple[str, str], int]:
        """Samples held for nearly all problems, by (stage, model): what a later trial gets without paying.

        Problems count where a trial scored them; what only a stopped or failing trial drew is held for a part.

        An approximation for stages whose prompts depend on other stages' answers, and for stages that run on a
        condition: of these, draws are held for the problems on which they ran.
        """
        held: dict[tuple[str, str], int] = {}
        for (stage, model, _), n_samples in self.held_by_label.items():
            held[stage, model] = max(held.get((stage, model), 0), n_samples)
        return held

    @cached_property
    def held_by_label(self) -> Mapping[tuple[str, str, str], int]:
        """As `held`, by (stage, model, selector): of these, what the selector itself pays for is held as well."""
        seen = [set(trial.scores) for trial in self.trials]
        n_enough = NEARLY_ALL * len(set().union(*seen, *(_failed(trial) for trial in self.trials)))
        asked: dict[tuple[str, str, str], list[tuple[int, set[str]]]] = {}
        for trial, problems in zip(self.trials, seen, strict=True):
            for choice in trial.allocation.choices if problems else ():
                if choice.below != 0:  # else it never ran
                    place = (choice.stage, choice.model, choice.select)
                    asked.setdefault(place, []).append((choice.n_samples, problems))
        held = {}
        for place, draws in asked.items():
            covered: set[str] = set()
            for n_samples, problems in sorted(draws, key=lambda each: -each[0]):
                covered |= problems
                if len(covered) >= n_enough:
                    held[place] = n_samples
                    break
        return held


def _failed(trial: Trial) -> set[str]:
    return {entry.problem_id for entry in trial.failures}


def cost_to_json(cost: Cost) -> dict[str, float | None]:
    """Return plain data; `Cost(**data)` reads it back."""
    names = ("flops", "linear_flops", "usd", "prefill_tokens", "decode_tokens", "seconds")
    return {name: getattr(cost, name) for name in names}


def part_to_json(part: CostPart) -> dict[str, Any]:
    """Return plain data; `part_from_json` reads it back."""
    return {
        "model": part.model,
        "purpose": part.purpose,
        "prefill": cost_to_json(part.prefill),
        "decode": cost_to_json(part.decode),
    }


def part_from_json(data: Mapping[str, Any]) -> CostPart:
    """Read what `part_to_json` wrote."""
    return CostPart(data["model"], data["purpose"], Cost(**data["prefill"]), Cost(**data["decode"]))


def failure_to_json(entry: ProblemFailure) -> dict[str, str]:
    """Return plain data."""
    failure = entry.failure
    return {
        "problem_id": entry.problem_id,
        "stage": failure.stage,
        "cause": failure.cause,
        "message": failure.message,
    }


def failure_from_json(data: Mapping[str, str]) -> ProblemFailure:
    """Read what `failure_to_json` wrote."""
    return ProblemFailure(data["problem_id"], Failure(data["stage"], data["cause"], data["message"]))


def votes_from_json(
    data: Mapping[str, Mapping[str, str | Iterable[int]]],
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Read votes as JSON keeps them: packed, or a list as in older logs."""
    return {
        stage: {name: unpack_votes(codes) for name, codes in by_problem.items()}
        for stage, by_problem in data.items()
    }


def pack_votes(codes: tuple[int, ...]) -> str | list[int]:
    """Return answer codes in few characters, e.g. `001-2`: `-` was not parsed; a list where there are more than 36."""
    if max(codes, default=0) >= len(VOTE_SIGNS):
        return list(codes)
    return "".join("-" if code < 0 else VOTE_SIGNS[code] for code in codes)


def unpack_votes(packed: str | Iterable[int]) -> tuple[int, ...]:
    """Read what `pack_votes` wrote."""
    if isinstance(packed, str):  # looked up rather than searched: a long run has millions
        return tuple([CODES.get(sign, -1) for sign in packed])
    return tuple(packed)


def pack_scores(scores: tuple[float, ...]) -> str | list[float]:
    """Return scores of samples in few characters: `0110` where all are right or wrong, else a list."""
    if all(score in (0, 1) for score in scores):
        return "".join("1" if score else "0" for score in scores)
    return [round(score, 6) for score in scores]


def unpack_scores(packed: str | list[float]) -> tuple[float, ...]:
    """Read what `pack_scores` wrote."""
    if isinstance(packed, str):
        return tuple([RIGHT_OR_WRONG[sign] for sign in packed])
    return tuple(map(float, packed))


def lengths_to_json(lengths: StageLengths) -> dict[str, Any]:
    """Return plain data; keys of JSON objects are text, so histograms become sorted pairs."""
    return {
        "model": lengths.model,
        "prefill": sorted(lengths.prefill.items()),
        "decode": sorted(lengths.decode.items()),
        **({"steps": sorted(lengths.steps.items())} if lengths.steps else {}),
        **({} if lengths.spread is None else {"spread": lengths.spread}),
    }


def lengths_from_json(data: Mapping[str, Any]) -> StageLengths:
    """Read what `lengths_to_json` wrote."""
    prefill, decode, steps = (
        {int(n): int(count) for n, count in data.get(key, ())} for key in ("prefill", "decode", "steps")
    )
    return StageLengths(data["model"], prefill, decode, steps, data.get("spread"))
