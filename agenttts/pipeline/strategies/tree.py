"""Wider or deeper: a new sample, or a better version of one that is there, whichever has been paying off.

Source: Inoue et al. 2025, arXiv:2503.04412 (AB-MCTS-A: adaptive branching by Thompson sampling with node aggregation,
Beta posteriors from Jeffreys' prior). The authors' library draws its random numbers from a generator that all of a
process share, so that two runs, or two problems at once, would not give the same tree twice; hence these few lines.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agenttts.pipeline.parsing import Parser
from agenttts.pipeline.selectors import BestOfN
from agenttts.pipeline.strategies.refinement import Refining, Turns
from agenttts.pipeline.strategies.steps import Draw, Pool, Strategy, drawn, output, scored

__all__ = ["search_tree"]

PRIOR = 0.5
"""Both parameters of Jeffreys' prior."""


@dataclass
class _Node:
    """A sample in the tree; the root is none."""

    place: int | None = None
    """Its place in the pool."""
    children: list[_Node] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    """Scores of the node and of all that was made from it."""
    made: list[float] = field(default_factory=list)
    """Scores of the children when they were made."""
    deeper: list[float] = field(default_factory=list)
    """Scores of what was made from children."""


def search_tree(draw: Draw, parser: Parser, how: Refining, rng: random.Random) -> Strategy:
    """Draw `draw.n` samples, each new or refined from another, and take the one with the highest score.

    Args:
        draw: The prompt of the stage, and the most samples.
        parser: Reads them.
        how: How a sample is refined, and the verifier, which must be there. It stops at a sample with its threshold.
        rng: Decides where to go on.
    """
    pool, root, turns = Pool(), _Node(), Turns(draw)
    n_plain = 0
    while len(pool.samples) < draw.n and (pool.best is None or pool.best < how.threshold):
        path = _path(root, rng)
        parent = path[-1]
        if parent.place is None:
            asked = replace(draw, n=1, first=n_plain)
            n_plain += 1
        else:
            asked = turns.next(how, pool, parent.place, pool.feedback[parent.place])
        yield from drawn(pool, asked, parser)
        yield from scored(pool, draw.messages, how.verifier)
        _grow(path, _Node(len(pool.samples) - 1), pool.scores[-1] or 0.0)
    made = output(
        BestOfN().select(pool.answers, pool.scores),
        pool,
        f"{n_plain} new, {len(pool.samples) - n_plain} refined",
    )
    return replace(made, texts=tuple(pool.texts), n_plain=0)


def _path(root: _Node, rng: random.Random) -> list[_Node]:
    """Return the nodes from the root to the one that gets a child."""
    path = [root]
    while path[-1].children:
        node = path[-1]
        if _sampled(node.made, rng) >= _sampled(node.deeper, rng):
            break
        chances = [_sampled(child.rewards, rng) for child in node.children]
        path.append(node.children[chances.index(max(chances))])
    return path


def _sampled(rewards: Sequence[float], rng: random.Random) -> float:
    right = sum(rewards)
    return rng.betavariate(PRIOR + right, PRIOR + len(rewards) - right)


def _grow(path: Sequence[_Node], child: _Node, score: float) -> None:
    path[-1].children.append(child)
    path[-1].made.append(score)
    child.rewards.append(score)
    for node in path:
        node.rewards.append(score)
    for node in path[:-1]:
        node.deeper.append(score)
