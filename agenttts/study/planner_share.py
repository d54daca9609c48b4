"""How much of a search was its planner's: calls without a reply, rounds without a usable proposal, proposals it gave.

An allocator fills up at random what its planner leaves out, so that a search whose planner never answered looks like any
other and is random search under another name. Pure: rounds of a log in, counts out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agenttts.allocators.conversing import FILLED

__all__ = ["PlannerShare", "planner_share", "together"]

MOST_CAUSES = 3


@dataclass(frozen=True, slots=True)
class PlannerShare:
    """What came of asking a planner, over the rounds in which it was asked (an opening asks nobody)."""

    calls: int = 0
    no_reply: int = 0
    """Calls that brought no text."""
    refused: int = 0
    """Calls that were not made, because a budget did not cover them."""
    rounds: int = 0
    """Rounds in which it was asked, or would have been."""
    nothing_usable: int = 0
    """Of these: it replied, and no proposal of the round is its own."""
    due: int = 0
    """Proposals of these rounds."""
    given: int = 0
    """Of these: its own; the others were filled in."""
    causes: tuple[str, ...] = ()
    """Why calls brought no text, the most frequent cause first."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def planner_share(rounds: Iterable[Mapping[str, Any]], allocator: str) -> PlannerShare:
    """Return what came of asking in the rounds of one search.

    Args:
        rounds: As the log has them.
        allocator: Name that its own proposals carry; what others fill in carries theirs.
    """
    return together(_of_round(event, allocator) for event in rounds)


def _of_round(event: Mapping[str, Any], allocator: str) -> PlannerShare:
    tally: Mapping[str, Any] = event.get("planner") or {}
    calls, failed, refused = (int(tally.get(name, 0)) for name in ("calls", "failed", "refused"))
    if calls + refused == 0:
        return PlannerShare()
    proposals = event["proposals"]
    given = sum(one["origin"] == allocator and one.get("reason", "") != FILLED for one in proposals)
    return PlannerShare(
        calls,
        failed,
        refused,
        rounds=1,
        nothing_usable=int(calls > failed and given == 0),
        due=len(proposals),
        given=given,
        causes=tuple(tally.get("problems", ())),
    )


def together(parts: Iterable[PlannerShare]) -> PlannerShare:
    """Return what came of asking in several rounds or searches."""
    several = list(parts)
    counts = {
        name: sum(getattr(part, name) for part in several)
        for name in ("calls", "no_reply", "refused", "rounds", "nothing_usable", "due", "given")
    }
    causes = Counter(cause for part in several for cause in part.causes)
    return PlannerShare(**counts, causes=tuple(cause for cause, _ in causes.most_common(MOST_CAUSES)))
