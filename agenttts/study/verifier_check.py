"""How good a verifier is, from draws of which gold is known: ranking, calibration, and what selecting by it brings.

Pure functions of labelled draws. The problem is the unit of resampling: samples of one problem are alike, and counting
them as independent would make every interval too narrow.

- Ranking: the area under the ROC curve (AUROC), the chance that a right sample has the higher score, ties counting
  half. Over all pairs, and over pairs of the same problem alone, which is what selecting among samples hangs on.
- Calibration: of samples with a score near s, which share is right (reliability bins of equal width; expected
  calibration error, Guo et al. 2017, arXiv:1706.04599; Brier score).
- Selection: best-of-n by this verifier beside the majority and an oracle that sees gold, for n = 1, 2, 4, ..., as means
  over all sets of n of the draws (`agenttts.study.estimation`), compared pair by pair.

A sample counts as right from a gold score of 0.5 on. Unscored samples take no part in ranking and calibration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agenttts.study.estimation import expected_score
from agenttts.study.statistics import Interval, PairedDifference, mean_interval, paired_difference, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Bin",
    "Labelled",
    "Selected",
    "VerifierCheck",
    "auroc",
    "check_draws",
    "oracle_score",
    "powers_of_two",
    "reliability",
    "selected_of",
    "selection",
]

RIGHT = 0.5
"""Gold score from which a sample counts as right."""
N_BINS = 10
N_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Labelled:
    """The draws of one problem, in drawing order; all of shape (n_samples,)."""

    problem_id: str
    votes: tuple[Hashable | None, ...]
    """Equal for equal answers; `None` where parsing failed."""
    values: tuple[float, ...]
    """Gold score of each."""
    scores: tuple[float | None, ...]
    """What the verifier gave each; `None` is unscored."""

    @property
    def pairs(self) -> list[tuple[float, bool]]:
        """(score, right) of each scored draw."""
        both = zip(self.scores, self.values, strict=True)
        return [(score, value >= RIGHT) for score, value in both if score is not None]


@dataclass(frozen=True, slots=True)
class Bin:
    """Samples whose scores lie within a bin."""

    low: float
    high: float
    n: int
    """Samples."""
    n_problems: int
    score: float
    """Mean score."""
    right: Interval
    """Share of right samples."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "right": self.right.to_json()}


@dataclass(frozen=True, slots=True)
class Selected:
    """What ways to select make of `n` samples, on the same draws."""

    n: int
    verifier: Interval
    """Best-of-n by the verifier."""
    majority: Interval
    oracle: Interval
    """Best-of-n by gold."""
    over_majority: PairedDifference
    """Verifier minus majority."""
    below_oracle: PairedDifference
    """Oracle minus verifier: what a better verifier could gain at most."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        names = ("verifier", "majority", "oracle", "over_majority", "below_oracle")
        return {"n": self.n, **{name: getattr(self, name).to_json() for name in names}}


@dataclass(frozen=True)
class VerifierCheck:
    """What labelled draws say of a verifier."""

    n_problems: int
    n_samples: int
    """Of each problem."""
    n_scored: int
    """Draws that it gave a score."""
    n_unparsed: int
    """Draws without an answer; these are not sent to a verifier."""
    right: Interval
    """Share of right draws: the score of a single sample."""
    auroc: Interval | None
    """Over all pairs of a right and a wrong draw; `None`: there is no such pair."""
    auroc_within: Interval | None
    """Over such pairs of the same problem."""
    bins: tuple[Bin, ...]
    """Those that hold samples, by rising score."""
    ece: float | None
    """Expected calibration error: mean distance of score and share of right ones over bins, weighted by samples."""
    brier: Interval | None
    """Mean square of score minus right (1) or wrong (0); 0 is best."""
    brier_constant: float | None
    """The Brier score of giving every sample the share of right ones."""
    selected: tuple[Selected, ...]
    """For n = 1, 2, 4, ... up to all."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = ("n_problems", "n_samples", "n_scored", "n_unparsed", "ece", "brier_constant")
        intervals = {
            name: None if value is None else value.to_json()
            for name in ("right", "auroc", "auroc_within", "brier")
            for value in [getattr(self, name)]
        }
        return {
            **{name: getattr(self, name) for name in plain},
            **intervals,
            "bins": [entry.to_json() for entry in self.bins],
            "selected": [entry.to_json() for entry in self.selected],
        }


def check_draws(draws: Sequence[Labelled], *, seed: int = 0) -> VerifierCheck:
    """Return what labelled draws say of a verifier.

    Args:
        draws: One entry per problem, all with the same number of draws.
        seed: Of the bootstrap.

    Raises:
        ValueError: No draws, or of different numbers.
    """
    n_samples = {len(entry.values) for entry in draws}
    if len(n_samples) != 1:
        raise ValueError(f"expected draws of one number for every problem, got {sorted(n_samples)}")
    pairs = [entry.pairs for entry in draws]
    n_scored = sum(map(len, pairs))
    bins = reliability(pairs, seed=seed)
    squares = [[(score - right) ** 2 for score, right in of_problem] for of_problem in pairs]
    share = sum(right for of_problem in pairs for _, right in of_problem) / max(1, n_scored)
    return VerifierCheck(
        n_problems=len(draws),
        n_samples=n_samples.pop(),
        n_scored=n_scored,
        n_unparsed=sum(vote is None for entry in draws for vote in entry.votes),
        right=mean_interval([math.fsum(entry.values) / len(entry.values) for entry in draws], seed=seed),
        auroc=auroc(pairs, seed=seed),
        auroc_within=auroc(pairs, within=True, seed=seed),
        bins=bins,
        ece=sum(b.n * abs(b.right.mean - b.score) for b in bins) / n_scored if n_scored else None,
        brier=_ratio([(math.fsum(row), len(row)) for row in squares], seed) if n_scored else None,
        brier_constant=share * (1 - share) if n_scored else None,
        selected=selection(draws, seed=seed),
    )


# --- ranking ---------------------------------------------------------------------------------------------------------


def auroc(
    pairs: Sequence[Sequence[tuple[float, bool]]], *, within: bool = False, seed: int = 0
) -> Interval | None:
    """Return the chance that a right sample has a higher score than a wrong one, ties counting half.

    Args:
        pairs: (score, right) of the scored samples of each problem.
        within: Compare samples of the same problem alone.
        seed: Of the bootstrap over problems (percentile interval; where nothing varies, see `Interval.method`).

    Returns:
        `None` where there is no right and wrong sample to compare.
    """
    if within:
        counts = [_pair_counts(of_problem) for of_problem in pairs]
        compared = [(won, n) for won, n in counts if n]
        return _ratio(compared, seed) if compared else None
    right, wrong = _tables(pairs)
    if not right.sum() or not wrong.sum():
        return None
    import numpy as np

    whole = float(_area(np.ones((1, len(pairs))), right, wrong)[0])
    return _resampled(whole, len(pairs), lambda weights: _area(weights, right, wrong), seed)


def _pair_counts(of_problem: Sequence[tuple[float, bool]]) -> tuple[float, int]:
    """Return the pairs of a right and a wrong sample that the right one wins (ties half), and all such pairs."""
    rights = [score for score, right in of_problem if right]
    wrongs = [score for score, right in of_problem if not right]
    won = sum((a > b) + 0.5 * (a == b) for a in rights for b in wrongs)
    return won, len(rights) * len(wrongs)


def _tables(
    pairs: Sequence[Sequence[tuple[float, bool]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many right, and wrong, samples each problem has at each distinct score (rising)."""
    import numpy as np

    place = {score: i for i, score in enumerate(sorted({score for row in pairs for score, _ in row}))}
    right, wrong = np.zeros((2, len(pairs), len(place)))
    for row, of_problem in enumerate(pairs):
        for score, is_right in of_problem:
            (right if is_right else wrong)[row, place[score]] += 1
    return right, wrong


def _area(
    weights: NDArray[np.float64], right: NDArray[np.float64], wrong: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the AUROC with problems counted `weights` times, shape (n_sets,); NaN where a set has no pair."""
    import numpy as np

    rights, wrongs = weights @ right, weights @ wrong
    below = np.cumsum(wrongs, axis=1) - wrongs
    n_pairs = rights.sum(axis=1) * wrongs.sum(axis=1)
    won = (rights * (below + 0.5 * wrongs)).sum(axis=1)
    share: NDArray[np.float64] = np.divide(won, n_pairs, out=np.full(len(won), np.nan), where=n_pairs > 0)
    return share


# --- calibration -----------------------------------------------------------------------------------------------------


def reliability(
    pairs: Sequence[Sequence[tuple[float, bool]]], *, n_bins: int = N_BINS, seed: int = 0
) -> tuple[Bin, ...]:
    """Return the bins of equal width that hold samples; a score on an edge belongs to the upper bin, 1 to the last."""
    found = []
    for place in range(n_bins):
        inside = [[p for p in row if min(n_bins - 1, int(p[0] * n_bins)) == place] for row in pairs]
        rows = [row for row in inside if row]
        if rows:
            n = sum(map(len, rows))
            score = math.fsum(score for row in rows for score, _ in row) / n
            right = _ratio([(float(sum(ok for _, ok in row)), len(row)) for row in rows], seed)
            found.append(Bin(place / n_bins, (place + 1) / n_bins, n, len(rows), score, right))
    return tuple(found)


def _ratio(rows: Sequence[tuple[float, int]], seed: int) -> Interval:
    """Return the sum of the first over the sum of the second, with an interval over rows, one per problem."""
    import numpy as np

    table = np.asarray(rows, dtype=float)
    mean = float(table[:, 0].sum() / table[:, 1].sum())

    def of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = weights @ table
        return np.asarray(sums[:, 0] / sums[:, 1])

    return _resampled(mean, len(rows), of, seed)


def _resampled(
    mean: float,
    n: int,
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
) -> Interval:
    """Return the percentile bootstrap interval of a figure over `n` problems, each counted as often as it is drawn.

    Where every resample gives the same figure, the Wilson bound of that share of `n`: certainty would be a claim.
    """
    import numpy as np

    rng = np.random.default_rng(np.random.SeedSequence([seed, n]))
    weights = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES).astype(float)
    figures = np.concatenate([of(block) for block in np.array_split(weights, 8)])
    figures = figures[~np.isnan(figures)]
    if not figures.size or float(np.ptp(figures)) < 1e-12:
        low, high = wilson(mean, n, CONFIDENCE)
        return Interval(mean, low, high, n, CONFIDENCE, "Wilson score interval, no two resamples differ")
    low, high = (float(end) for end in np.quantile(figures, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    method = f"percentile bootstrap over problems, {N_RESAMPLES} resamples"
    return Interval(mean, min(low, mean), max(high, mean), n, CONFIDENCE, method)


# --- selection -------------------------------------------------------------------------------------------------------


def powers_of_two(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... and `most` itself."""
    return tuple(sorted({most, *(2**k for k in range(most.bit_length()) if 2**k <= most)}))


def oracle_score(values: Sequence[float], n: int) -> float:
    """Return the expected best gold score among `n` of the draws: of 0 and 1 this is pass@n.

    Unbiased. Source: Chen et al. 2021, arXiv:2107.03374.
    """
    return expected_score("best_of_n", n, [0] * len(values), values, values)


def selection(draws: Sequence[Labelled], *, seed: int = 0) -> tuple[Selected, ...]:
    """Return what the verifier, the majority and an oracle select from 1, 2, 4, ... of the draws."""
    return tuple(selected_of(draws, n, seed=seed) for n in powers_of_two(len(draws[0].values)))


def selected_of(draws: Sequence[Labelled], n: int, *, seed: int = 0) -> Selected:
    """Return what the verifier, the majority and an oracle select from `n` of the draws."""
    best = {d.problem_id: expected_score("best_of_n", n, d.votes, d.values, d.scores) for d in draws}
    vote = {d.problem_id: expected_score("majority", n, d.votes, d.values) for d in draws}
    oracle = {d.problem_id: oracle_score(d.values, n) for d in draws}

    def mean(scores: Mapping[str, float]) -> Interval:
        return mean_interval(list(scores.values()), seed=seed)

    return Selected(
        n,
        mean(best),
        mean(vote),
        mean(oracle),
        paired_difference(best, vote, seed=seed),
        paired_difference(oracle, best, seed=seed),
    )
