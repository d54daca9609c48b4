"""Checks of `when`, `otherwise`, `pool` and `test`: what a stage may watch, take over from, vote with, and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agenttts.errors import Mistake
from agenttts.task.drafts import StageDraft
from agenttts.task.options import WhenBlock
from agenttts.task.reading import Document, Loc, nearest
from agenttts.task.schema import ParseBlock

__all__ = ["condition_faults", "scored_fault"]

UNVOTED = ("agreed_fusion", "fusion", "list_vote")
"""Selectors whose answer no single sample need hold, so that no share of samples agrees with it."""


def condition_faults(
    document: Document, at: Loc, name: str, stages: Mapping[str, StageDraft]
) -> Iterator[Mistake]:
    """Yield the mistakes in the conditions of one stage; `at` is the place of the stage."""
    stage = stages[name]
    if stage.when is not None:
        yield from _when_faults(document, at, name, stages, stage.when)
    if stage.otherwise is not None:
        yield from _otherwise_faults(document, at, name, stages, stage.otherwise)
    if stage.test is not None:
        yield from _test_faults(document, (*at, "test", "stage"), name, stages, stage.test.stage)


def scored_fault(
    document: Document, name: str, stages: Mapping[str, StageDraft], at: Loc = ("score", "stage")
) -> Iterator[Mistake]:
    """Yield the mistake in scoring a stage that problems may pass by without an answer; `at`: where it is named."""
    return _unanswered(document, at, name, stages, ("scored", "Score"))


def _unanswered(
    document: Document, at: Loc, name: str, stages: Mapping[str, StageDraft], verb: tuple[str, str]
) -> Iterator[Mistake]:
    stage = stages.get(name)
    done, do = verb
    if stage is not None and stage.optional:
        message = f"`{name}` may be left out, and then has no answer that could be {done}."
        yield document.mistake(at, message, f"Leave `optional` out of `{name}`.")
    elif stage is not None and stage.when is not None and stage.when.measure == "answer":
        message = f"`{name}` has no answer on the problems that are not sent to it."
        yield document.mistake(at, message, f"{do} a stage with `otherwise: {name}`.")


def _test_faults(
    document: Document, at: Loc, name: str, stages: Mapping[str, StageDraft], tested: str
) -> Iterator[Mistake]:
    needs = stages[name].needs
    if tested == name:
        yield document.mistake(at, "a stage cannot test itself.")
    elif tested not in stages:
        hint = nearest(tested, [other for other in stages if other != name], listed="Stages")
        yield document.mistake(at, f"there is no stage `{tested}`.", hint)
    elif tested not in needs:
        hint = f"Add it: needs: [{', '.join([*filter(None, needs), tested])}]."
        yield document.mistake(at, f"`{tested}` is tested and not among `needs`.", hint)
    elif stages[tested].test is not None:
        message = f"`{tested}` is a test itself: its answer says how another one did."
        yield document.mistake(at, message, "Test a stage with `models` or a `function`.")
    else:
        yield from _unanswered(document, at, tested, stages, ("tested", "Test"))


def _when_faults(
    document: Document, at: Loc, name: str, stages: Mapping[str, StageDraft], when: WhenBlock
) -> Iterator[Mistake]:
    stage = stages[name]
    watched = stages.get(when.stage)
    place = (*at, "when", "stage")
    if watched is None:
        hint = nearest(when.stage, [other for other in stages if other != name], listed="Stages")
        yield document.mistake(place, f"there is no stage `{when.stage}`.", hint)
    elif when.stage == name:
        yield document.mistake(place, "a stage cannot watch itself.")
    elif when.stage not in stage.needs:
        hint = f"Add it: needs: [{', '.join([*filter(None, stage.needs), when.stage])}]."
        yield document.mistake(place, f"`{when.stage}` is watched and not among `needs`.", hint)
    elif when.thresholds == (0,):
        message = "the stage never runs: no measure is below 0."
        yield document.mistake((*at, "when", "below"), message, "Add a threshold above 0, or leave it out.")
    elif watched.test is not None or when.measure == "score":
        yield from _watched_test_faults(document, at, stages, stage, when)
    else:
        yield from _watched_faults(document, at, stage, watched, when)


def _watched_faults(
    document: Document, at: Loc, stage: StageDraft, watched: StageDraft, when: WhenBlock
) -> Iterator[Mistake]:
    place = (*at, "when", "stage")
    if watched.function is not None:
        message = f"`{when.stage}` is a function: it has no samples that could agree or be scored."
        yield document.mistake(place, message, "Watch a stage with `models`.")
    elif watched.when is not None or watched.otherwise is not None:
        message = f"`{when.stage}` runs on a condition itself; such a stage cannot be watched."
        hint = "" if watched.when is None else f"Watch `{watched.when.stage}`."
        yield document.mistake(place, message, hint)
    elif when.measure == "answer":
        if stage.pool:
            message = f"the answer of `{when.stage}` is a rating: there are no votes to pool with."
            yield document.mistake((*at, "pool"), message, "Leave `pool` out.")
    else:
        yield from _measurable(document, (*at, "when", "measure"), when, watched)
        if stage.pool:
            yield from _poolable(document, at, stage, watched, when.stage)


def _watched_test_faults(
    document: Document, at: Loc, stages: Mapping[str, StageDraft], stage: StageDraft, when: WhenBlock
) -> Iterator[Mistake]:
    test = stages[when.stage].test
    if test is None:
        message = f"`{when.stage}` is no test stage, and `score` is measured of those alone."
        hint = "Watch a stage with `test`, or measure its agreement, verifier_score or answer."
        yield document.mistake((*at, "when", "measure"), message, hint)
    elif when.measure != "score":
        message = f"`{when.stage}` is a test stage: it has no {when.measure}, but a score."
        yield document.mistake((*at, "when", "measure"), message, "Write `measure: score`.")
    elif stage.pool:
        message = f"`{when.stage}` is a test stage: there are no votes to pool with."
        yield document.mistake((*at, "pool"), message, "Leave `pool` out.")
    elif not _written(test.stage, stages):
        message = f"no model has a part in the answer that `{when.stage}` tests, so nothing could be mended."
        yield document.mistake((*at, "when", "stage"), message, "Test a stage with `models`.")


def _written(name: str, stages: Mapping[str, StageDraft]) -> bool:
    """Return whether a model has a part in the answer of a stage; of needs in a circle, which are told elsewhere, too."""
    seen, open_ = {name}, [name]
    while open_:
        stage = stages.get(open_.pop())
        if stage is None or stage.asks_model:
            return True
        fresh = [need for need in stage.needs if need not in seen]
        seen.update(fresh)
        open_ += fresh
    return False


def _otherwise_faults(
    document: Document, at: Loc, name: str, stages: Mapping[str, StageDraft], other: str
) -> Iterator[Mistake]:
    stage, before, place = stages[name], stages.get(other), (*at, "otherwise")
    if before is None or other == name:
        hint = nearest(other, [known for known in stages if known != name], listed="Stages")
        message = (
            "a stage cannot take over from itself." if other == name else f"there is no stage `{other}`."
        )
        yield document.mistake(place, message, hint)
    elif other not in stage.needs:
        hint = f"Add it: needs: [{', '.join([*filter(None, stage.needs), other])}]."
        yield document.mistake(place, f"`{other}` is not among `needs`.", hint)
    elif before.when is None or before.when.measure != "answer":
        message = f"`{other}` never leaves a problem without an answer, so this stage would never run."
        hint = f"Give `{other}` a `when` with `measure: answer`, which names the stage that rates problems."
        yield document.mistake(place, message, hint)
    elif before.when.thresholds[0] > 1:
        message = f"`{other}` runs on every problem, so this stage would never run."
        yield document.mistake(place, message, f"Give `{other}` a threshold of at most 1.")
    elif stage.when is not None and (stage.when.measure, stage.when.stage) != ("answer", before.when.stage):
        message = f"a stage that takes over from `{other}` must go by the same rating."
        hint = f"Write {{stage: {before.when.stage}, measure: answer, below: ...}}."
        yield document.mistake((*at, "when"), message, hint)


def _measurable(document: Document, at: Loc, when: WhenBlock, watched: StageDraft) -> Iterator[Mistake]:
    kinds = [way.kind for way in watched.select if way is not None]
    if when.measure == "agreement":
        for kind in dict.fromkeys(kind for kind in kinds if kind in UNVOTED):
            message = f"`{when.stage}` may select by {kind}, whose answer need not be that of any sample."
            hint = "Without votes there is no agreement: leave it out of its `select`."
            yield document.mistake(at, message, hint)
    else:
        unscored = [way.kind for way in watched.select if way is not None and way.verifier is None]
        for unread in dict.fromkeys(unscored if kinds else ["majority"]):
            message = f"`{when.stage}` may select by {unread}, which asks no verifier."
            hint = "Let its `select` hold ways with a `verifier` only, or use `measure: agreement`."
            yield document.mistake(at, message, hint)


def _poolable(
    document: Document, at: Loc, stage: StageDraft, watched: StageDraft, name: str
) -> Iterator[Mistake]:
    others = [way.kind for way in stage.select if way is not None and way.kind != "majority"]
    for kind in dict.fromkeys(others):
        message = f"votes cannot be pooled under {kind}."
        yield document.mistake((*at, "pool"), message, "Let `select` be majority alone.")
    if (stage.parse or ParseBlock()) != (watched.parse or ParseBlock()):
        message = f"votes cannot be pooled with `{name}`, whose `parse` is another one."
        yield document.mistake((*at, "pool"), message, "Give both stages the same `parse`.")
