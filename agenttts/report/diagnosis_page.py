"""The page of a diagnosis: what limits each stage, in words, tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agenttts.report.diagnosis_words import (
    apart_table,
    cell_table,
    cell_words,
    how_made,
    stages_words,
    way_table,
)
from agenttts.report.pages import (
    COLOURS,
    DASHES,
    MARKS,
    escaped,
    figure,
    page,
    plots,
    table,
    text_list,
    titled,
    whiskers,
)

if TYPE_CHECKING:
    from agenttts.study.diagnosis import CellDiagnosis, Diagnosis, WayDiagnosis
    from agenttts.study.statistics import Interval

__all__ = ["diagnosis_page"]

Figure = dict[str, Any]
MOST = 0.9
"""Share of a model's problems that a way must have seen to be drawn beside its coverage: else they cannot be compared."""
NAMES = {"type": "category", "automargin": True}
BESIDE = {"orientation": "v", "x": 1.01, "y": 1}
"""A legend with room for many lines."""


def diagnosis_page(diagnosis: Diagnosis, *, title: str, figures_from: str) -> str:
    """Return the page.

    Args:
        diagnosis: What was found.
        title: Of the page; plain text.
        figures_from: What the figures come from, in a sentence; plain text.
    """
    figures = _figures(diagnosis)
    parts = [f"<h1>{escaped(title)}</h1>", f"<p><strong>{escaped(figures_from)}</strong></p>"]
    parts += _plan(diagnosis)
    parts += plots(figures)
    parts += _tables(diagnosis)
    parts += ["<h2>How the figures were made</h2>", text_list(how_made(diagnosis))]
    return page(title, "\n".join(parts), figures)


def _plan(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.best is None:
        return [
            '<p class="note">No allocation within the budget was scored: there is no plan to look at.</p>'
        ]
    parts = [f"<h2>The plan (trial {diagnosis.best})</h2>"]
    for stage, words in stages_words(diagnosis):
        parts += [f"<h3>{escaped(stage)}</h3>", text_list(words)]
    return parts


def _tables(diagnosis: Diagnosis) -> list[str]:
    parts = [
        "<h2>Models at each stage</h2>",
        '<p class="soft">With all samples of the trial that drew the most in parallel: coverage is the share of problems with a right '
        "sample, vote what a majority finds.</p>",
        table(*cell_table(diagnosis)),
        "<h2>Ways to select</h2>",
        table(*way_table(diagnosis)),
        *_apart(diagnosis),
        "<h2>Coverage by number of samples</h2>",
        table(*_coverage_table(diagnosis.cells)),
    ]
    told = [(cell, words) for cell in diagnosis.cells if (words := cell_words(cell))]
    if told:
        parts.append("<h2>Samples of each model</h2>")
    for cell, words in told:
        parts += [f"<h3>{escaped(cell.stage)}, {escaped(cell.model)}</h3>", text_list(words)]
    return parts


def _apart(diagnosis: Diagnosis) -> list[str]:
    return ["<h2>Ways that are in no table</h2>", table(*apart_table(diagnosis))] if diagnosis.apart else []


def _coverage_table(cells: Sequence[CellDiagnosis]) -> tuple[list[str], list[list[str]]]:
    counts = sorted({n for cell in cells for n in cell.coverage})
    rows = [
        [cell.stage, cell.model, *(str(cell.coverage[n]) if n in cell.coverage else "" for n in counts)]
        for cell in cells
    ]
    return ["stage", "model", *map(str, counts)], rows


# --- plots -----------------------------------------------------------------------------------------------------------


def _figures(diagnosis: Diagnosis) -> list[Figure]:
    stages = dict.fromkeys(cell.stage for cell in diagnosis.cells)
    made = [
        _samples_figure(f"samples-{place}", stage, [c for c in diagnosis.cells if c.stage == stage])
        for place, stage in enumerate(stages)
        if any(len(cell.coverage) > 1 for cell in diagnosis.cells if cell.stage == stage)
    ]
    if diagnosis.cells:
        made.append(_mix_figure(diagnosis.cells))
    verified = [way for cell in diagnosis.cells for way in cell.ways if way.verifier is not None]
    return [*made, _verifier_figure(verified)] if verified else made


def _samples_figure(identity: str, stage: str, cells: Sequence[CellDiagnosis]) -> Figure:
    data = []
    for place, cell in enumerate(cells):
        colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
        name = escaped(cell.model)  # plotly reads a little markup in names
        data.append(_line(cell.coverage, f"{name} coverage", colour, mark, DASHES[0]))
        if len(cell.majority) > 1:
            data.append(_line(cell.majority, f"{name} vote", colour, mark, DASHES[2]))
        data += [
            _line(way.curve, f"{name} {escaped(way.label)}", colour, mark, DASHES[1])
            for way in cell.ways
            if way.label != "majority" and len(way.curve) > 1 and way.coverage.n >= MOST * cell.n_problems
        ]
    x = {**titled("samples"), "type": "log", "dtick": 0.30103}  # the logarithm of 2
    title = f"{stage}: coverage and what is selected, by number of samples"
    made = figure(identity, title, data, x, {**titled("score"), "range": [0, 1.02]})
    made["layout"]["legend"] = BESIDE
    return made


def _line(curve: Mapping[int, Interval], name: str, colour: str, mark: str, dash: str) -> Figure:
    counts = sorted(curve)
    return {
        "x": counts,
        "y": [curve[n].mean for n in counts],
        "error_y": _intervals([curve[n] for n in counts]),
        "mode": "lines+markers",
        "name": name,
        "line": {"color": colour, "dash": dash},
        "marker": {"symbol": mark, "size": 6},
    }


def _intervals(found: Sequence[Interval]) -> Figure:
    return whiskers([one.mean for one in found], [one.low for one in found], [one.high for one in found])


def _mix_figure(cells: Sequence[CellDiagnosis]) -> Figure:
    names = [_label(cell.stage, f"{cell.model} x{max(cell.coverage)}") for cell in cells]
    parts = (
        ("right samples alone", [cell.mix.all_right for cell in cells], COLOURS[2]),
        ("both", [cell.mix.mixed for cell in cells], COLOURS[5]),
        ("wrong samples alone", [cell.mix.all_wrong for cell in cells], COLOURS[1]),
    )
    data = [
        {"type": "bar", "x": names, "y": shares, "name": name, "marker": {"color": colour}}
        for name, shares, colour in parts
    ]
    title = "Share of problems by what their samples are: selecting matters where they are both"
    made = figure("mix", title, data, NAMES, {**titled("share of problems"), "range": [0, 1]})
    made["layout"]["barmode"] = "stack"
    return made


def _label(*lines: str) -> str:
    """Return the label of a bar; plotly reads the line break in it, and nothing in the lines."""
    return "<br>".join(escaped(line) for line in lines)


def _verifier_figure(ways: Sequence[WayDiagnosis]) -> Figure:
    names = [
        _label(way.stage, f"{way.model} x{way.n_samples}", way.label, f"trial {way.trial}") for way in ways
    ]
    data = []
    for place, kind in enumerate(("majority", "verifier", "oracle")):
        found = [getattr(way.verifier, kind) for way in ways]
        data.append(
            {
                "type": "bar",
                "x": names,
                "y": [one.mean for one in found],
                "error_y": {**_intervals(found), "color": COLOURS[7]},
                "name": kind,
                "marker": {"color": COLOURS[place]},
            }
        )
    title = "The verifier's gap: best-of-n by vote, by verifier and by an oracle, on the same samples"
    return figure("verifier", title, data, NAMES, {**titled("score"), "range": [0, 1.02]})
