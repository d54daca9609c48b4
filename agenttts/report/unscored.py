"""What a result says of verifiers that left samples without a score. Plain text: whoever shows it makes it safe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttts.study.archive import Trial, Unscored

__all__ = ["over_trials", "unscored_text", "unscored_texts"]

NOTABLY_UNSCORED = 0.1
"""Share of the samples that a verifier was sent above which a result says so."""


def unscored_texts(entries: Iterable[tuple[str, Unscored]]) -> list[str]:
    """Return a sentence per stage and way whose verifier left many samples without a score."""
    return [unscored_text(stage, entry) for stage, entry in entries if entry.share > NOTABLY_UNSCORED]


def unscored_text(stage: str, entry: Unscored) -> str:
    """Return what a verifier left without a score, why, and what decided instead.

    It may hold what a model wrote.
    """
    scored = f"{entry.n_samples - entry.n:,} of {entry.n_samples:,} samples"
    example = f", e.g. {entry.example}" if entry.example else ""
    return f"the verifier of {entry.select} scored {scored} at stage {stage}{example}; {_instead(entry)}"


def _instead(entry: Unscored) -> str:
    if entry.n < entry.n_samples:
        return "samples without a score cannot win"
    return "the majority decided instead: as it is, this verifier is paid for and of no use"


def over_trials(trials: Iterable[Trial]) -> list[tuple[str, Unscored]]:
    """Return the sums over trials for each stage and way, so that a verifier is told of whichever trial wins."""
    found: dict[tuple[str, str], Unscored] = {}
    for trial in trials:
        for stage, entry in trial.unscored.items():
            before = found.get((stage, entry.select))
            found[stage, entry.select] = entry if before is None else before + entry
    return [(stage, entry) for (stage, _), entry in found.items()]
