"""The page of the paper's protocol: its tables beside the published one, plots, allocations found, and how to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.comparison_page import comparison_figures, failure_parts, plot_parts
from agenttts.report.pages import escaped, page, table, text_list
from agenttts.report.paper_words import (
    asked_text,
    bill_text,
    difference_table,
    how_made,
    legend,
    notes_text,
    planner_table,
    score_table,
    search_table,
)

if TYPE_CHECKING:
    from agenttts.report.paper_report import PaperResult

__all__ = ["paper_page"]


def paper_page(result: PaperResult) -> str:
    """Return the page."""
    title = f"The paper's protocol on {result.setup.folder.task.file.name}"
    comparison = result.comparison
    figures = [] if comparison is None else comparison_figures(comparison, result.searches)
    parts = [f"<h1>{escaped(title)}</h1>", f'<p class="soft">{escaped(asked_text(result))}</p>']
    parts.append(f"<p><strong>{escaped(result.searches.figures_from)}</strong></p>")
    parts += [f'<p class="note">{escaped(line)}</p>' for line in notes_text(result)]
    if comparison is None:
        parts.append('<p class="note">No search has a result: there is nothing to show.</p>')
    else:
        parts += [*_tables(result), *plot_parts(figures), *_found(result)]
    parts += [*failure_parts(result.searches), "<h2>Bill</h2>", text_list(bill_text(result))]
    parts += ["<h2>How the figures were made</h2>", text_list(how_made(result))]
    return page(title, "\n".join(parts), figures)


def _tables(result: PaperResult) -> list[str]:
    differences = difference_table(result)
    parts = ["<h2>Scores on the test problems</h2>", table(*score_table(result))]
    if differences[1]:
        parts += [f"<h2>Against {escaped(result.reference.label)}</h2>", table(*differences)]
    parts += ["<h2>What the search took to the best found</h2>", table(*search_table(result))]
    asked = planner_table(result)
    parts += ["<h2>What the planner gave</h2>", table(*asked)] if asked[1] else []
    return [*parts, *(f'<p class="soft">{escaped(line)}</p>' for line in legend(result))]


def _found(result: PaperResult) -> list[str]:
    rows = [
        [run.allocator, str(run.seed), str(run.plan), "none" if mean is None else f"{mean:.3f}"]
        for run in result.searches.runs
        if run.has_result and run.plan is not None
        for mean in [result.mean_test_of(run)]
    ]
    return ["<h2>Allocations found</h2>", table(["method", "seed", "allocation", "test score"], rows)]
