"""The page of a comparison: verdicts, figures, plots, the bill, and how to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agenttts.report.comparison_words import (
    bill_text,
    endings_text,
    how_made,
    pair_table,
    summary_table,
    target_text,
    why_text,
)
from agenttts.report.pages import (
    COLOURS,
    DASHES,
    MARKS,
    amounts_axis,
    band,
    escaped,
    figure,
    page,
    plots,
    table,
    text_list,
    titled,
)
from agenttts.report.words import sentence
from agenttts.study.comparison_curves import Axis, Curve, curves

if TYPE_CHECKING:
    from agenttts.study.comparison_runs import ComparisonResult
    from agenttts.study.comparison_values import Comparison, RunRecord

__all__ = ["comparison_figures", "comparison_page", "failure_parts", "plot_parts"]

MOST_FAILURES = 20
Figure = dict[str, Any]


def comparison_page(result: ComparisonResult, *, title: str, asked: str) -> str:
    """Return the page.

    Args:
        result: What was found.
        title: Of the page, e.g. the task's name; plain text.
        asked: What was asked of every study, in a line; plain text.
    """
    parts = [f"<h1>{escaped(title)}</h1>", f'<p class="soft">{escaped(asked)}</p>']
    parts.append(f"<p><strong>{escaped(result.figures_from)}</strong></p>")
    parts += [f'<p class="note">{escaped(line)}</p>' for line in endings_text(result)]
    comparison = result.comparison
    figures: list[Figure] = []
    if comparison is None:
        parts.append('<p class="note">No study has a result: there is nothing to compare.</p>')
    else:
        figures = comparison_figures(comparison, result)
        parts += _findings(comparison, result, figures)
    parts += [*failure_parts(result), "<h2>Bill</h2>", f"<p>{escaped(sentence(bill_text(result)))}</p>"]
    if comparison is not None:
        parts += ["<h2>How the figures were made</h2>", text_list(how_made(comparison))]
    return page(title, "\n".join(parts), figures)


def _findings(comparison: Comparison, result: ComparisonResult, figures: Sequence[Figure]) -> list[str]:
    parts = [f'<p class="note">{escaped(note)}</p>' for note in comparison.notes]
    if comparison.pairs:
        rows = [[f"{pair.first} : {pair.second}", pair.verdict] for pair in comparison.pairs]
        parts += ["<h2>Verdicts</h2>", table(["pair", "verdict"], rows)]
    parts += [
        "<h2>Allocators</h2>",
        f'<p class="soft">Target: {escaped(target_text(comparison))}. Medians over seeds for what it takes to get '
        "there, means for scores.</p>",
        table(*summary_table(comparison, result.unit)),
    ]
    parts += plot_parts(figures)
    if comparison.pairs:
        parts += [
            "<h2>Tests</h2>",
            '<p class="soft">Ratios and differences are first to second. Ratios below 1 speak for the first.</p>',
            table(*pair_table(comparison)),
        ]
    return parts


def plot_parts(figures: Sequence[Figure]) -> list[str]:
    """Return where the plots go, with what readers without JavaScript are told."""
    return plots(figures, beside=" and in curves.csv and runs.csv beside this page")


def failure_parts(result: ComparisonResult) -> list[str]:
    """Return the table of studies without a result, nothing where there are none."""
    rows = [
        [run.allocator, str(run.seed), run.status, why_text(run)] for run in result.runs if not run.has_result
    ]
    if not rows:
        return []
    more = [] if len(rows) <= MOST_FAILURES else [f"<p>and {len(rows) - MOST_FAILURES} more</p>"]
    return [
        "<h2>Studies without a result</h2>",
        table(["allocator", "seed", "status", "why"], rows[:MOST_FAILURES]),
        *more,
    ]


# --- plots -------------------------------------------------------------------------------------------------------


def comparison_figures(comparison: Comparison, result: ComparisonResult) -> list[Figure]:
    """Return the plots of a comparison: best so far, share of runs at the target, final plans."""
    unit = escaped(result.unit.label)
    score = "true score" if comparison.truth_known else "search score"
    figures = [
        _curve_figure("by-trials", "Best so far against trials", comparison, "trials", "trials", score),
        _curve_figure("by-spend", "Best so far against spend", comparison, "spend", f"{unit} spent", score),
        _reached_figure(comparison, unit),
    ]
    if any(record.test for record in comparison.records):
        figures.append(_test_figure(comparison))
    return figures


def _curve_figure(identity: str, title: str, comparison: Comparison, axis: Axis, x: str, y: str) -> Figure:
    data: list[Figure] = []
    for place, curve in enumerate(curves(comparison, axis)):
        data += _traces(place, curve)
    across = amounts_axis(x, _spends(comparison)) if axis == "spend" else titled(x)
    return figure(identity, title, data, across, titled(f"{y}, median and band"))


def _traces(place: int, curve: Curve) -> list[Figure]:
    colour = COLOURS[place % len(COLOURS)]
    name = escaped(curve.allocator)  # plotly reads a little markup in names
    shape = "hv"
    return [
        *band(curve.x, curve.low, curve.high, colour=colour, name=name, shape=shape),
        {
            "x": curve.x,
            "y": curve.median,
            "mode": "lines",
            "name": name,
            "legendgroup": name,
            "line": {"color": colour, "shape": shape, "width": 2.5, "dash": DASHES[place % len(DASHES)]},
        },
    ]


def _reached_figure(comparison: Comparison, unit: str) -> Figure:
    threshold = comparison.best_known - comparison.target
    data = []
    for place, name in enumerate(comparison.allocators):
        runs = [record for record in comparison.records if record.allocator == name and not record.lacking]
        if not runs:
            continue
        spends = sorted(spend for run in runs if math.isfinite(spend := _to_target(run, threshold)))
        last = max(run.spend[-1] for run in runs)
        data.append(
            {
                "x": [*spends, last],
                "y": [*((i + 1) / len(runs) for i in range(len(spends))), len(spends) / len(runs)],
                "mode": "lines+markers",
                "name": escaped(name),
                "line": {
                    "color": COLOURS[place % len(COLOURS)],
                    "shape": "hv",
                    "dash": DASHES[place % len(DASHES)],
                },
                "marker": {"symbol": MARKS[place % len(MARKS)], "size": 5},
            }
        )
    x = amounts_axis(f"{unit} spent", _spends(comparison))
    return figure(
        "reached", "Share of runs at the target", data, x, {**titled("share of runs"), "range": [0, 1.05]}
    )


def _spends(comparison: Comparison) -> list[float]:
    return [value for record in comparison.records for value in record.spend]


def _to_target(run: RunRecord, threshold: float) -> float:
    place = run.reached(threshold)
    return math.inf if place is None else run.spend[place]


def _test_figure(comparison: Comparison) -> Figure:
    data = []
    for place, name in enumerate(comparison.allocators):
        runs = [record for record in comparison.records if record.allocator == name and record.test]
        scores = [math.fsum(run.test.values()) / len(run.test) for run in runs if run.test]
        data.append(
            {
                "type": "box",
                "y": scores,
                "name": escaped(name),
                "boxpoints": "all",
                "jitter": 0.4,
                "pointpos": 0,
                "text": [f"seed {run.seed}" for run in runs],
                "line": {"color": COLOURS[place % len(COLOURS)]},
                "marker": {"symbol": MARKS[place % len(MARKS)], "size": 6},
                "showlegend": False,
            }
        )
    return figure(
        "test",
        "Final plans on the test problems",
        data,
        {"type": "category"},
        titled("score, one point a seed"),
    )
