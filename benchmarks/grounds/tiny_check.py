"""Check that the ground `tiny` measures what a study would: random allocations against the package's own evaluation.

    python -m grounds.tiny_check CACHE [--allocations 50] [--on 20]      (in benchmarks/)

Scores, stage scores, scores of single samples and charged cost must be equal to the last bit but for the rounding of
sums of costs; the vectorised selectors of the truth must pick what the package's selectors pick.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import numpy as np

from agenttts.budgets.cost import total_amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.selectors import SELECTORS
from agenttts.store.sql import open_store
from agenttts.study.evaluate import evaluate
from grounds.selection import selected
from grounds.tiny import STAGES, TinyGround, cost_by_cost_model

COST_TOLERANCE = 1e-9


async def compare(ground: TinyGround, n_allocations: int, n_problems: int) -> float:
    """Return the largest relative difference of charged costs."""
    rng = np.random.default_rng(0)
    indices = ground.space.feasible_indices()
    picks = rng.choice(len(indices), size=n_allocations, replace=False)
    model, clients, store = CostModel(ground.task.cards), Clients(ground.task.cards), open_store("memory:")
    sampler = StoredSampler(clients, store, SpendingLedger(model, None), "check")
    run, worst = ground.begin(None), 0.0
    problems = range(n_problems)
    try:
        for number, pick in enumerate(picks):
            allocation = ground.space.allocation(indices[pick])
            mine, _ = run.run(allocation, number, problems)
            real = await evaluate(
                ground.task,
                allocation,
                ground.task.search[:n_problems],
                clients=clients,
                sampler=sampler,
                cost_model=model,
            )
            assert dict(real.scores) == dict(mine.scores), allocation
            assert real.stage_scores == mine.stage_scores, allocation
            assert real.sample_scores == mine.sample_scores, allocation
            worst = max(worst, abs(mine.charged / total_amount(real.costs, ground.space.budget.unit) - 1))
    finally:
        await clients.aclose()
        await store.aclose()
    return worst


def compare_selectors(ground: TinyGround, n_streams: int = 200) -> int:
    """Return how many selections were compared."""
    rng, n_compared = np.random.default_rng(1), 0
    counts = (1, 2, 3, 4, 8, 16, 32)
    for _ in range(n_streams):
        draws = ground.draws[STAGES[int(rng.integers(2))]]
        row, m = int(rng.integers(len(draws.problem))), int(rng.integers(len(ground.models)))
        answers = np.where(rng.random(ground.n_draws) < rng.choice([0, 0.4]), -1, draws.answer[row, m])
        scores = np.where(rng.random(ground.n_draws) < rng.choice([0, 0.4]), np.nan, draws.prm[row, m])
        scores = np.round(scores.astype(float), int(rng.choice([1, 9])))  # rounded ones tie
        order = rng.permutation(ground.n_draws)[None, :]
        for kind in ("first", "majority", "best_of_n", "weighted_vote"):
            picks = selected(kind, counts, answers, scores, order)[0]
            for n, pick in zip(counts, picks, strict=True):
                at = order[0, :n]
                a = [None if v < 0 else int(v) for v in answers[at]]
                s = [None if np.isnan(v) else float(v) for v in scores[at]]
                chosen = SELECTORS[kind].select(a, s)
                real = -1 if chosen.answer is None or chosen.index is None else int(at[chosen.index])
                assert real == pick, (kind, n, row, m)
                n_compared += 1
    return n_compared


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--allocations", type=int, default=50)
    parser.add_argument("--on", type=int, default=20, help="problems to compare on")
    args = parser.parse_args()
    ground = TinyGround(args.cache, n_problems=args.problems, n_draws=args.draws)
    print(f"{compare_selectors(ground)} selections are as the package's selectors make them")
    print(f"charges differ from the cost model by at most {cost_by_cost_model(ground):.1e}")
    worst = asyncio.run(compare(ground, args.allocations, args.on))
    assert worst < COST_TOLERANCE, worst
    print(
        f"{args.allocations} allocations on {args.on} problems: scores equal, costs differ by at most {worst:.1e}"
    )


if __name__ == "__main__":
    main()
