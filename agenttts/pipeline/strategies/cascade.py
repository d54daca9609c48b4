"""Try a small model, escalate to another where the result looks unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenttts.models.base import SamplingParameters
from agenttts.pipeline.parsing import Parser
from agenttts.pipeline.selectors import BestOfN, Majority
from agenttts.pipeline.strategies.steps import Draw, Pool, Strategy, drawn, output, scored
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.equality import vote_counts

__all__ = ["agreement_of", "cascade"]


def cascade(
    draw: Draw,
    parser: Parser,
    *,
    to: str,
    sampling: SamplingParameters,
    below: float,
    verifier: Verifier | None = None,
) -> Strategy:
    """Draw from one model; where its samples agree too little, or score too low, draw as many from another.

    Without a verifier the votes of both are pooled, those of the first model first, so ties go to it; with one the
    sample with the highest score wins.
    Sources: Chen et al. 2023, arXiv:2305.05176 (FrugalGPT: cascades by score); Yue et al. 2023, arXiv:2310.03094 (by
    agreement). Pooling the votes is ours.

    Args:
        draw: The first model's samples.
        parser: Reads all samples.
        to: The model to escalate to.
        sampling: How it draws.
        below: Escalate where the share of the winning vote, or the best score, is below this.
        verifier: Scores samples; `None`: votes decide.
    """
    pool = yield from drawn(Pool(), draw, parser)
    yield from scored(pool, draw.messages, verifier)
    sure = agreement_of(pool.answers) if verifier is None else pool.best
    n_plain = len(pool.samples)
    note = f"not escalated: {sure:.3g} is not below {below:g}" if sure is not None else ""
    if sure is None or sure < below:
        # To itself it escalates to draws that were not seen yet, so that no sample votes twice.
        first = n_plain if (to, sampling) == (draw.model, draw.sampling) else 0
        more = replace(draw, model=to, sampling=sampling, purpose="escalate", first=first)
        yield from drawn(pool, more, parser)
        yield from scored(pool, draw.messages, verifier)
        note = f"escalated to {to}"
    selector = Majority() if verifier is None else BestOfN()
    made = output(selector.select(pool.answers, pool.scores), pool, *([note] if note else []))
    return replace(made, texts=tuple(pool.texts), n_plain=n_plain)


def agreement_of(answers: Sequence[Any]) -> float:
    """Return the share of all samples, unparsed ones included, that hold the most common answer."""
    return max(vote_counts(answers).values(), default=0) / len(answers)
