"""A run's page, single problems: how trials did on each, and what was asked and answered in the passes that were read.

Everything in prompts and samples was written by others: it is shown as text, and cut where it is long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.report.pages import Part, details, escaped, paragraph, preformatted, table
from agenttts.report.run_words import measured_text
from agenttts.report.words import cut, listed, plural

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import ProblemFact, RolloutFact, SampleFact, StagePass

__all__ = ["problems_part"]

MOST_ROWS = 1000
MOST_CHARACTERS = 350_000
"""Markup of all passes together: the page stays below 2 MB."""
LONGEST_TEXT = 1500
LONGEST_PROMPT = 2500
LONGEST_ROW = 140
MOST_SAMPLES = 16
"""Of one stage in one pass."""
OWN = frozenset({"draw", "refine", "escalate"})
"""What a stage selects from; all else are calls beside, e.g. of verifiers."""


def problems_part(facts: RunFacts) -> Part:
    """Return the part."""
    shown, n_left = _passes(facts)
    parts = [
        *_table(facts),
        "<h3>Passes, from prompt to answer</h3>",
        paragraph(_about(facts, n_left), "soft"),
        *shown,
    ]
    return Part("problems", "Single problems", tuple(parts))


def _table(facts: RunFacts) -> list[str]:
    problems = facts.problems[:MOST_ROWS]
    if not problems:
        return [paragraph("No problem has a score.")]
    source = measured_text(facts.head, "on the search problems")
    left = len(facts.problems) - len(problems)
    more = (
        [paragraph(f"{left:,} more problems are left out; agenttts report --json has all.", "soft")]
        if left
        else []
    )
    head = [
        "question",
        "winner",
        "runner-up",
        "mean of trials",
        "trials",
        "failed",
        "right answer",
        "problem",
    ]
    rows = [_row(facts, one) for one in sorted(problems, key=_apart)]
    told = (
        f"{source} First the problems on which winner and runner-up, then those on which trials differ most. The mean is over "
        "all trials that have a score for the problem: near 0 it is hard, near 1 easy."
    )
    return [
        paragraph(told, "soft"),
        table(head, rows, label="Search problems", right=range(1, 6), fill=[0], is_long=True),
        *more,
    ]


def _apart(one: ProblemFact) -> tuple[float, float, str]:
    """Order problems: where winner and runner-up disagree, then where all trials do; a problem that all solve tells least."""
    between = 0.0 if one.winner is None or one.runner_up is None else abs(one.winner - one.runner_up)
    return -between, abs(0.5 - (1.0 if one.mean is None else one.mean)), one.id


def _row(facts: RunFacts, one: ProblemFact) -> list[str]:
    figures = ["" if value is None else f"{value:.2f}" for value in (one.winner, one.runner_up, one.mean)]
    return [
        cut(" ".join(one.text.split()), LONGEST_ROW),
        *figures,
        f"{one.n_scored:,}",
        f"{one.n_failed:,}",
        cut(next((one.golds[stage] for stage in reversed(facts.head.stages) if stage in one.golds), ""), 60),
        cut(one.id, 60),
    ]


# --- passes ----------------------------------------------------------------------------------------------------------


def _about(facts: RunFacts, n_left: int) -> str:
    rollouts = facts.rollouts
    if not rollouts.passes:
        return f"No pass is shown: {rollouts.why_none or 'none was read'}."
    told = [
        f"{plural(len(rollouts.passes), 'pass')[:-1] + 'es' if len(rollouts.passes) > 1 else '1 pass'} read back from the store of draws."
    ]
    told.append("What models wrote is shown as text, whatever it holds; long texts are cut, and say so.")
    if n_left:
        told.append(f"{n_left:,} more are left out to keep the page small.")
    told.append(f"All of them, in full: agenttts export {facts.head.folder} --draws FILE.jsonl")
    return " ".join(told)


def _passes(facts: RunFacts) -> tuple[list[str], int]:
    """Return the markup of as many problems as there is room for, and how many passes are left out."""
    by_problem: dict[str, list[RolloutFact]] = {}
    for one in facts.rollouts.passes:
        by_problem.setdefault(one.problem_id, []).append(one)
    shown: list[str] = []
    room, n_left = MOST_CHARACTERS, 0
    for problem, passes in sorted(by_problem.items(), key=lambda one: _telling(one[1])):
        markup = _problem(facts, problem, passes)
        room -= len(markup)
        if room >= 0:
            shown.append(markup)
        else:
            n_left += len(passes)
    return shown, n_left


def _telling(passes: Sequence[RolloutFact]) -> tuple[float, float]:
    """Order problems by what they tell: those on which the trials differ, then those that went wrong."""
    scores = [-1.0 if one.score is None else one.score for one in passes]
    return min(scores) - max(scores), min(scores)


def _problem(facts: RunFacts, problem: str, passes: Sequence[RolloutFact]) -> str:
    scores = "; ".join(f"{_who(facts, one)} {_score(one)}" for one in passes)
    known = next((one for one in facts.problems if one.id == problem), None)
    golds = {} if known is None else known.golds
    return details(f"Problem {cut(problem, 60)}: {scores}", [_pass(facts, one, golds) for one in passes])


def _who(facts: RunFacts, one: RolloutFact) -> str:
    return "the winner" if one.trial == facts.answer.winner else f"trial {one.trial}"


def _score(one: RolloutFact) -> str:
    return "has no score" if one.score is None else f"scores {one.score:.2f}"


def _pass(facts: RunFacts, one: RolloutFact, golds: Mapping[str, str]) -> str:
    who = _who(facts, one)
    missing = [paragraph(cut(one.missing, LONGEST_TEXT), "note")] if one.missing else []
    parts = [f"<h4>{who[:1].upper()}{who[1:]}</h4>", *missing]
    return "".join(
        [*parts, *(markup for stage in one.stages for markup in _stage(stage, golds.get(stage.stage)))]
    )


def _stage(stage: StagePass, gold: str | None) -> Iterator[str]:
    score = "" if stage.score is None else f", score {stage.score:.2f}"
    ran = "" if stage.ran else " (did not run)"
    yield f"<p><strong>{escaped(stage.choice)}</strong>{ran}</p>"
    if stage.prompt:
        told = "".join(
            f'<p class="soft">{escaped(role)}</p>{_text(text, LONGEST_PROMPT)}' for role, text in stage.prompt
        )
        yield details("Prompt", [told])
    yield paragraph(
        f"Selected answer: {'none' if stage.answer is None else cut(stage.answer, LONGEST_TEXT)}{score}"
    )
    if gold is not None:
        yield paragraph(f"Right answer: {cut(gold, LONGEST_TEXT)}")
    own = [one for one in stage.samples if one.purpose in OWN]
    beside = [one for one in stage.samples if one.purpose not in OWN]
    if own:
        yield _samples(own, "sample", is_open=True)
    if beside:
        yield _samples(beside, f"{listed(list(dict.fromkeys(one.purpose for one in beside)))} call")
    yield from (paragraph(cut(note, LONGEST_TEXT), "soft") for note in stage.notes)


def _samples(samples: Sequence[SampleFact], name: str, *, is_open: bool = False) -> str:
    items = "".join(f"<li>{_sample(one)}</li>" for one in samples[:MOST_SAMPLES])
    rest = len(samples) - MOST_SAMPLES
    more = [paragraph(f"and {plural(rest, name)} more", "soft")] if rest > 0 else []
    return details(plural(len(samples), name), [f"<ol>{items}</ol>", *more], is_open=is_open)


def _sample(one: SampleFact) -> str:
    facts = [
        one.model,
        "" if one.purpose == "draw" else one.purpose,
        "selected" if one.selected else "",
        "no answer" if one.answer is None and one.purpose == "draw" else "",
        f"answer {cut(one.answer, 80)}" if one.answer is not None else "",
        "" if one.score is None else f"score {one.score:.2f}",
        "" if one.verifier_score is None else f"verifier {one.verifier_score:.2f}",
        f"{one.prefill_tokens:,} tokens read, {one.decode_tokens:,} written",
        "" if one.finish_reason in {"", "stop"} else f"ended by {one.finish_reason}",
    ]
    mark = "strong" if one.selected else "span"
    return f"<{mark}>{escaped(', '.join(part for part in facts if part))}</{mark}>{_text(one.text, LONGEST_TEXT, one.cut)}"


def _text(text: str, most: int, was_cut: bool = False) -> str:
    note = (
        '<p class="soft">The text goes on; agenttts export has all of it.</p>'
        if was_cut or len(text) > most
        else ""
    )
    return preformatted(cut(text, most)) + note
