"""Votes that two stages cast together: by how much right answers lead in the first, and what leads the second turns.

A stage with `pool: true` votes over the samples of the stage that it watches and its own. The answer is right where,
over both, right samples outnumber the strongest rival. Both stages' leads (right samples less the rival's) are
tabulated by the chance of one sample and the rival's share; leads of the watched stage on a grid of `LEADS`, so that
the outcome of any two choices is one product. The strongest rivals of both stages are taken for the same answer, which
understates what a second model brings where its mistakes are others. The law of the rival's share is the one of
`selectors`; the form is ours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import NODES
from agenttts.allocators.curves.selectors import RIVALS

__all__ = ["LEADS", "lead_tables", "turn_tables"]

Floats = NDArray[np.float64]

LEADS = np.array([-48.0, -24.0, -12.0, -6.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0])
"""Leads that are told apart; those between go to the two beside them, so that the mean stays."""
SLACK = 1e-9


@lru_cache(maxsize=512)
def lead_tables(n_samples: int, threshold: float) -> Floats:
    """Return the chances of a lead where less than a share `threshold` agrees on an answer.

    Returns:
        Shape (n_leads, n_nodes x n_thetas); what is missing to a sum of 1 is the chance that they agree.
    """
    right, rival, chance = _outcomes(n_samples)
    rival = np.maximum(rival, right + rival < n_samples)  # any wrong answer has one vote at least
    apart = np.maximum(right, rival) / n_samples < threshold - SLACK
    table: Floats = _on_grid((right - rival)[apart]).T @ chance[apart]
    table.setflags(write=False)
    return table


@lru_cache(maxsize=512)
def turn_tables(n_samples: int) -> Floats:
    """Return the chances that the pooled vote is right, by the lead before.

    A tie goes to the answer that was drawn first, so to the side that led before; where none did, to either.

    Returns:
        Shape (n_leads, n_nodes x n_thetas).
    """
    right, rival, chance = _outcomes(n_samples)
    total = LEADS[:, None] + (right - rival)
    # A vote that nobody cast is no tie: then no answer is selected.
    tied = np.where(right + rival > 0, 0.5 + 0.5 * np.sign(LEADS[:, None]), 0.0)
    table: Floats = np.where(total > 0, 1.0, np.where(total == 0, tied, 0.0)) @ chance
    table.setflags(write=False)
    return table


def _outcomes(n: int) -> tuple[Floats, Floats, Floats]:
    """Return all counts of right samples and of the rival's, and their chances, shape (n_outcomes, n_nodes x n_thetas)."""
    from scipy.special import gammaln

    grid = np.meshgrid(np.arange(n + 1.0), np.arange(n + 1.0))
    right, rival = (part[grid[0] + grid[1] <= n] for part in grid)
    other = n - right - rival
    ways = gammaln(n + 1) - gammaln(right + 1) - gammaln(rival + 1) - gammaln(other + 1)
    p, share = NODES[:, None], RIVALS[None, :]
    cells = np.stack([p + 0 * share, (1 - p) * share, (1 - p) * (1 - share)]).reshape(3, -1)
    chance = np.exp(ways[:, None] + np.stack([right, rival, other], axis=1) @ np.log(cells))
    return right, rival, chance


def _on_grid(lead: Floats) -> Floats:
    """Return how leads are shared out over `LEADS`, shape (len(lead), n_leads), by linear interpolation."""
    return np.stack([np.interp(lead, LEADS, row) for row in np.eye(len(LEADS))], axis=1)
