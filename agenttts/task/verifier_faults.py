"""Checks of verifiers against where they stand: what they read must be drawn, and what they compare must be there."""

from __future__ import annotations

from collections.abc import Iterator

from agenttts.errors import Mistake
from agenttts.task.drafts import Draft
from agenttts.task.naming import verifier_blocks
from agenttts.task.reading import Document, Loc
from agenttts.task.ways import VerifierBlock

__all__ = ["verifier_faults"]

ONE_BY_ONE = frozenset({"adaptive_best", "refine", "tree"})
"""Ways that score each sample as it comes."""


def verifier_faults(document: Document, draft: Draft) -> Iterator[Mistake]:
    """Yield verifiers that cannot do their work where they stand."""
    for at, verifier in verifier_blocks(draft):
        yield from _certainty(document, draft, at, verifier)
        yield from _comparison(document, draft, at, verifier)
        if verifier.kind == "judge" and verifier.logprobs and verifier.form != "pointwise":
            message = f"form {verifier.form} reads no probabilities; they are those of marks."
            yield document.mistake((*at, "logprobs"), message, "Leave it out, or use `form: pointwise`.")


def _certainty(document: Document, draft: Draft, at: Loc, verifier: VerifierBlock) -> Iterator[Mistake]:
    """Yield self-certainty of samples that are drawn without their log-probabilities."""
    if verifier.kind != "self_certainty":
        return
    name = _stage_of(draft, at)
    stage = draft.stages.get(name)
    if stage is None or stage.sampling is None or stage.sampling.logprobs:
        return
    message = f"self_certainty reads the probabilities of tokens, and stage `{name}` does not ask for them."
    yield document.mistake(at, message, f"Add `sampling: {{logprobs: true}}` to stage `{name}`.")


def _stage_of(draft: Draft, at: Loc) -> str:
    """Return the stage whose samples the verifier at a place scores."""
    if at[0] == "stages":
        return str(at[1])
    score = draft.measures.get(str(at[1])) if at[0] == "measures" else draft.score
    named = score.stage if score is not None else None
    return named or (list(draft.stages) or [""])[-1]


def _comparison(document: Document, draft: Draft, at: Loc, verifier: VerifierBlock) -> Iterator[Mistake]:
    """Yield verifiers that compare samples where one is scored at a time, and always gets the same."""
    if verifier.kind == "agreement" and "select" not in at:
        yield document.mistake(
            at,
            "agreement compares the samples of a stage, and a score is of one answer.",
            "Use it in `select`.",
        )
    compares = verifier.kind == "agreement" or (verifier.kind == "judge" and verifier.form != "pointwise")
    if not compares or "select" not in at:
        return
    way = draft.stages[str(at[1])].select[int(at[3])]
    if way is not None and way.kind in ONE_BY_ONE:
        what = "agreement" if verifier.kind == "agreement" else f"form {verifier.form}"
        message = f"{what} compares samples, and {way.kind} scores them one by one."
        yield document.mistake(
            at, message, "Use best_of_n or weighted_vote, or a verifier that scores a sample by itself."
        )
