"""A diagnosis in words and tables that a user can act on. Plain text: whoever shows it makes it safe for its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.unscored import unscored_texts
from agenttts.report.words import sentence
from agenttts.study.diagnosis import LITTLE, LITTLE_GAIN

if TYPE_CHECKING:
    from agenttts.study.diagnosis import (
        Apart,
        Beside,
        CellDiagnosis,
        Diagnosis,
        Mix,
        Saturation,
        WayDiagnosis,
    )
    from agenttts.study.statistics import Interval, PairedDifference

__all__ = [
    "apart_table",
    "apart_words",
    "cell_table",
    "cell_words",
    "how_made",
    "plan_words",
    "stages_words",
    "way_table",
]

OFTEN = 0.2
"""Share of problems with spread rewards from which the run counts as anti-concentrated."""
VARIED = 0.1
"""Relative spread of lengths from which completions count as heterogeneous."""
NOTABLY_RUNAWAY = 0.01
NOTABLY_UNPARSED = 0.02
TO_GO_ON = {"adaptive_vote": "raise `confidence`", "adaptive_best": "raise `threshold` or lower `least_gain`"}
"""How a way that stops early is made to go on, by kind."""
IN_FULL = {"adaptive_vote": "a vote over all", "adaptive_best": "the best by its verifier of all"}
"""What such a way would select, had it not stopped."""
Table = tuple[list[str], list[list[str]]]


# --- the plan --------------------------------------------------------------------------------------------------------


def stages_words(diagnosis: Diagnosis) -> list[tuple[str, list[str]]]:
    """Return the stages of the best trial, each with sentences on it."""
    cells = {(cell.stage, cell.model): cell for cell in diagnosis.cells}
    told = [(way.stage, plan_words(way, cells[way.stage, way.model])) for way in diagnosis.plan]
    rest = [(way.stage, apart_words(way, cells.get((way.stage, way.model)))) for way in diagnosis.plan_apart]
    return [*told, *rest]


def plan_words(way: WayDiagnosis, cell: CellDiagnosis) -> list[str]:
    """Return sentences on one stage of the best trial; `cell` holds all that is known of its model there."""
    if way.n_samples == 1:
        words = [f"{way.selected} of problems are right with one sample of {way.model}.", *_beyond(way, cell)]
    else:
        words = [_found(way), _limit(way), *_more_samples(way, cell), *_verifier(way)]
    return [*words, *cell_words(cell)]


def apart_words(way: Apart, cell: CellDiagnosis | None) -> list[str]:
    """Return sentences on a stage of the best trial whose way cannot be diagnosed; `cell`: what is known of its model."""
    words = [
        f"{way.label} with up to {way.n_samples} samples of {way.model} finds {way.selected}. What limits it cannot be "
        f"told: {way.why}."
    ]
    if cell is None:
        return words
    n = max(cell.coverage)
    words.append(
        f"A single sample of {cell.model} finds {cell.coverage[1].mean:.3f}"
        + (f", and among {n} {cell.coverage[n].mean:.3f} of problems have a right one" if n > 1 else "")
        + f" (trial {cell.trial})."
    )
    return [*words, *cell_words(cell)]


def _found(way: WayDiagnosis) -> str:
    if way.beside is not None:
        return (
            f"{way.coverage} of problems have a right sample among {way.n_samples} of {way.model} drawn in parallel "
            f"(trial {way.beside.trial}); {way.label} stops after {way.beside.drawn:.1f} on average and finds "
            f"{way.selected}; a single sample {way.single.mean:.3f}."
        )
    return (
        f"{way.coverage} of problems have a right sample among {way.n_samples} of {way.model}, {way.label} finds "
        f"{way.selected}; a single sample {way.single.mean:.3f}."
    )


def _limit(way: WayDiagnosis) -> str:
    has_one = way.auroc is not None or (way.beside is not None and way.beside.kind == "adaptive_best")
    better = "a better verifier" if has_one else "a verifier"
    if way.beside is not None and way.limited_by in ("stopping", "unclear"):
        return _stopping(way, way.beside)
    if way.limited_by == "selection":
        return f"Limited by selection: {better} could gain up to {_gap(way.gap)}."
    if way.limited_by == "unclear":
        return (
            f"Selection may be the limit: {better} could gain up to {_gap(way.gap)}, which on so few problems may be "
            "chance."
        )
    if way.limited_by == "generation":
        return f"Limited by generation: {_uncovered(way)}."
    if way.limited_by == "neither":
        return f"Limited by neither: generation and selection lose less than {LITTLE:g} each."
    return f"{way.label} writes answers of its own, so what it misses is not a matter of selecting alone."


def _stopping(way: WayDiagnosis, beside: Beside) -> str:
    """Say what going on could gain, or that so few problems do not tell."""
    if way.limited_by == "unclear":
        return (
            f"Selection or stopping early may be the limit: both together lose {_gap(way.gap)}, which on so few problems "
            "may be chance."
        )
    remedy = f"{TO_GO_ON[beside.kind]}, or draw them all"
    if beside.full is None:
        return (
            f"Limited by stopping: going on could gain up to {_gap(beside.stopping)}, for right samples came after it "
            f"stopped: {remedy}."
        )
    return (
        f"Limited by stopping: {IN_FULL[beside.kind]} {way.n_samples} finds {beside.full.mean:.3f}, "
        f"{_gap(beside.stopping)} more: {remedy}."
    )


def _uncovered(way: WayDiagnosis) -> str:
    words = f"on {way.n_uncovered} of {way.coverage.n} problems no sample is right"
    if way.n_misled:
        return f"{words}; on {way.n_misled} of these a stage before was wrong already, so that mending that one comes first"
    return f"{words}; a stronger model or another prompt could find them, another way to select could not"


def _beyond(way: WayDiagnosis, cell: CellDiagnosis) -> list[str]:
    """Say what more samples than the plan draws would hold, where another trial drew them."""
    n = max(cell.coverage)
    if n <= way.n_samples:
        return ["No trial drew more of it, so whether generation or selection is the limit is not known."]
    vote = f", a vote finds {cell.majority[n].mean:.3f}" if n in cell.majority else ""
    return [
        f"Among {n} samples (trial {cell.trial}) {cell.coverage[n].mean:.3f} of problems have a right one{vote}."
    ]


def _more_samples(way: WayDiagnosis, cell: CellDiagnosis) -> list[str]:
    words = [] if way.saturation is None else [_saturation(way.saturation, way.label)]
    if max(cell.coverage) > way.n_samples:
        words += _beyond(way, cell)
    return words


def _saturation(found: Saturation, what: str) -> str:
    gain = f"{found.start} to {found.n} brings {_gap(found.gain)}"
    if found.at is None:
        return f"More samples still gain by {what}: {gain}."
    return f"More samples than {found.at} gain less than {LITTLE_GAIN:g} by {what}: {gain}."


def _verifier(way: WayDiagnosis) -> list[str]:
    found = way.verifier
    if found is None:
        return []
    against = {
        "better": "better than",
        "worse": "worse than",
        "not distinguishable": "not distinguishable from",
    }
    words = (
        f"Best of {found.n} by the verifier finds {found.verifier.mean:.3f}, a vote over the same samples "
        f"{found.majority.mean:.3f}: {against[found.over_majority.verdict]} the vote ({_gap(found.over_majority)}). "
        f"A perfect verifier would find {found.oracle.mean:.3f}, {_gap(found.below_oracle)} more."
    )
    if way.auroc is not None:
        words += f" Its AUROC among samples of one problem is {way.auroc}."
    return [words]


# --- a model at a stage ----------------------------------------------------------------------------------------------


def cell_words(cell: CellDiagnosis) -> list[str]:
    """Return sentences on the samples of one model at one stage: their spread, and what went wrong with them."""
    words = _spread(cell)
    if cell.runaway is not None and cell.runaway.share > NOTABLY_RUNAWAY:
        words.append(
            f"{cell.runaway.n:,} of {cell.runaway.n_samples:,} completions of {cell.model} ran into the token limit: raise "
            "`max_tokens`, or add a stop sign where they go round in circles."
        )
    if cell.unparsed is not None and cell.unparsed.share > NOTABLY_UNPARSED:
        example = f", e.g. {cell.unparsed.example[:80]!r}" if cell.unparsed.example else ""
        words.append(
            f"{cell.unparsed.n:,} of {cell.unparsed.n_samples:,} samples of {cell.model} could not be parsed{example}: "
            "look at the parse rule and at what the prompt says of the form."
        )
    unscored = [(way.stage, way.unscored) for way in cell.ways if way.unscored is not None]
    return words + [sentence(text) for text in unscored_texts(unscored)]


def _spread(cell: CellDiagnosis) -> list[str]:
    mix = cell.mix
    if mix.anti_concentrated is None:
        return []
    lengths = (
        "" if cell.spread is None else f"; lengths of one problem's completions vary by {cell.spread:.0%}"
    )
    return [f"{_shares(mix)}{lengths}. {_implied(mix, mix.anti_concentrated, cell.spread)}"]


def _shares(mix: Mix) -> str:
    return (
        f"Of {mix.n_problems} problems {mix.all_right:.0%} have right samples alone, {mix.all_wrong:.0%} wrong ones alone, "
        f"{mix.mixed:.0%} both"
    )


def _implied(mix: Mix, concentration: Interval, spread: float | None) -> str:
    """Return what spread rewards and lengths imply (Setlur et al. 2025)."""
    share = f"on {concentration} of them a sample has a fair chance to be clearly better than the mean"
    if concentration.mean < OFTEN:
        remedy = (
            "fewer would do on most problems"
            if mix.all_right >= mix.all_wrong
            else "another model or prompt is what could help"
        )
        return (
            f"Rewards hardly spread ({share}), so more samples are of little use whatever selects: {remedy}."
        )
    if spread is None:
        return f"Rewards spread ({share}): it is worth trying whether a verifier finds more than a vote."
    if spread < VARIED:
        return (
            f"Rewards spread ({share}), but the completions are much alike: a vote may do about as well as a verifier; "
            "compare both before paying for one."
        )
    return (
        f"Rewards spread ({share}) and so do the completions: spend on a verifier rather than on larger votes or fusion, "
        "the more so with more samples."
    )


# --- tables ----------------------------------------------------------------------------------------------------------


def cell_table(diagnosis: Diagnosis) -> Table:
    """Return a row per stage and model: coverage and vote with all samples, and how samples are mixed."""
    head = ["stage", "model", "trial", "n", "one", "coverage", "vote", "right/both/wrong", "saturates"]
    return head, [_cell_row(cell) for cell in diagnosis.cells]


def _cell_row(cell: CellDiagnosis) -> list[str]:
    n, mix = max(cell.coverage), cell.mix
    return [
        cell.stage,
        cell.model,
        str(cell.trial),
        str(n),
        f"{cell.coverage[1].mean:.3f}",
        f"{cell.coverage[n].mean:.3f}",
        f"{cell.majority[n].mean:.3f}" if n in cell.majority else "-",
        f"{mix.all_right:.0%}/{mix.mixed:.0%}/{mix.all_wrong:.0%}",
        _saturates(cell.saturation),
    ]


def _saturates(found: Saturation | None) -> str:
    if found is None:
        return "-"
    return "not yet" if found.at is None else f"at {found.at}"


def way_table(diagnosis: Diagnosis) -> Table:
    """Return a row per stage, model and way to select: coverage, what was selected, and the limit."""
    head = ["stage", "model", "way", "trial", "n", "coverage", "selected", "gap", "saturates", "limited by"]
    return head, [_way_row(way) for cell in diagnosis.cells for way in cell.ways]


def _way_row(way: WayDiagnosis) -> list[str]:
    return [
        way.stage,
        way.model,
        way.label,
        str(way.trial),
        str(way.n_samples),
        f"{way.coverage.mean:.3f}" + ("" if way.beside is None else f" (trial {way.beside.trial})"),
        str(way.selected),
        _gap(way.gap),
        _saturates(way.saturation),
        "-" if way.limited_by == "unknown" else way.limited_by,
    ]


def apart_table(diagnosis: Diagnosis) -> Table:
    """Return a row per way that is in no other table: its score, and why no more can be said."""
    head = ["stage", "model", "way", "trial", "n", "selected", "why not in a table"]
    return head, [
        [way.stage, way.model, way.label, str(way.trial), str(way.n_samples), str(way.selected), way.why]
        for way in diagnosis.apart
    ]


def _gap(difference: PairedDifference) -> str:
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def how_made(diagnosis: Diagnosis) -> list[str]:
    """Return how the figures were made and what they do not say."""
    some = next((way.selected for cell in diagnosis.cells for way in cell.ways), None)
    confidence = f"{some.confidence:.0%}" if some is not None else "95%"
    words = [
        f"Intervals hold with {confidence} over the search problems, each problem counted once: Wilson intervals of shares, "
        "BCa bootstrap over problems else; differences are paired by problem.",
        "Coverage is pass@n without bias (Chen et al. 2021), averaged over all sets of n of the draws; so are votes and "
        "best-of-n of fewer samples than were drawn.",
        "Figures are those of the trial that is named. At a stage that builds on others they hold for the answers that "
        "those gave in it; a trial that racing stopped saw a part of the problems.",
        "What spread implies follows Setlur et al. 2025 (arXiv:2502.12118), with thresholds of our own. It is a hint, not "
        "a measurement.",
        f"Saturated: more samples gain less than {LITTLE_GAIN:g}; in the first table of coverage, in the second of what "
        "the way selects.",
        "The plan was chosen on these problems, which flatters it.",
    ]
    if any(way.beside is not None for cell in diagnosis.cells for way in cell.ways):
        words.append(
            "The draws of a way that stops early end at what it likes, which flatters them: its coverage and single sample "
            "are those of parallel draws of the same model, in the trial in brackets."
        )
    if diagnosis.without_gold:
        names = ", ".join(diagnosis.without_gold)
        words.append(f"Nothing can be said of {names}: give it a `score` with `verifier` and `gold`.")
    return words
