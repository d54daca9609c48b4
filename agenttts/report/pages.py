"""The frame of a page that opens anywhere: one file, no network, light and dark, readable without JavaScript.

Everything that comes from outside passes `escaped`; data for scripts pass `embedded`. A policy in the page allows the
scripts written into it, by their digest, and nothing else.

Style and scripts lie in `assets/`. Plotly is there as its cartesian bundle, packed by gzip (0.5 MB, where the whole
plotly.js has 4.8 MB); a page unpacks it itself. Its licence lies beside it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil, floor, log10
from typing import Any

__all__ = [
    "BELOW",
    "COLOURS",
    "DASHES",
    "MARKS",
    "Figure",
    "Part",
    "amounts_axis",
    "band",
    "chart",
    "details",
    "embedded",
    "escaped",
    "figure",
    "page",
    "paragraph",
    "parts_page",
    "plots",
    "preformatted",
    "table",
    "text_list",
    "titled",
    "upright",
    "whiskers",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f6fbf", "#808080")
"""Told apart by most kinds of sight, on light and dark ground; after Okabe and Ito."""
DASHES = ("solid", "dash", "dot", "dashdot")
FAR_APART = 10
"""Amounts so many times apart can only be read by their logarithms."""
MARKS = ("circle", "square", "diamond", "triangle-up", "x", "star")

BUNDLE = "plotly-cartesian.min.js.gz"
WITHOUT_SCRIPTS = "<noscript><style>.scripted { display: none; }</style></noscript>"
"""Elements of class `scripted` stay empty without JavaScript, and are not shown then."""
TOLD_WITHOUT = '<noscript><p class="soft">The plots need JavaScript; their figures are in the tables{beside}.</p></noscript>'

Figure = dict[str, Any]


def escaped(text: object) -> str:
    """Return text that is no markup, whatever it holds; control characters are shown as blanks."""
    shown = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in str(text))
    return html.escape(shown, quote=True)


def embedded(value: Any) -> str:
    """Return JSON that can stand in a script: no text in it can end the script or begin markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# --- text ------------------------------------------------------------------------------------------------------------


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    label: str = "",
    right: Container[int] = (),
    fill: Container[int] = (),
    is_long: bool = False,
    places: Sequence[str] = (),
) -> str:
    """Return a table of plain text, in a region of its own that scrolls where it does not fit.

    On a narrow screen each row of more than two cells becomes a block: its first cell, and below it each other cell
    beside the head of its column.

    Args:
        head: A cell for each column.
        rows: Their cells.
        label: What the table holds, for those who hear the page; default: its heads.
        right: Columns whose cells end at the same place, as figures do.
        fill: Columns whose cells may have several lines.
        is_long: It scrolls in its height too, and can be sorted by its heads.
        places: A name for each row, for links to it.
    """
    kinds = [_kind(column in right, column in fill) for column in range(len(head))]
    top = "".join(
        f'<th scope="col"{kind}>{escaped(cell)}</th>' for cell, kind in zip(head, kinds, strict=True)
    )
    starts = [f'<tr id="{place}">' for place in places] or ["<tr>"] * len(rows)
    body = "".join(
        f"{start}{''.join(f'<td{kind}>{escaped(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for start, row in zip(starts, rows, strict=True)
    )
    named = escaped(label or f"Table: {', '.join(head)}")
    place, sortable = ("wide long", ' class="sortable"') if is_long else ("wide", "")
    stacks, labels = (" stacks", _labels(head)) if len(head) > 2 else ("", "")
    return (
        f'<div class="{place}{stacks}" role="region" tabindex="0" aria-label="{named}"><table{sortable}{labels}>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _labels(head: Sequence[str]) -> str:
    """Return the heads for the style, which shows them beside stacked cells; once a table, for a long one has many cells."""
    told = ";".join(f"--l{i}:'{_style_text(cell)}'" for i, cell in enumerate(head, start=1) if cell)
    return f' style="{told}"'


def _style_text(text: str) -> str:
    """Return what can stand in a text of a style: no sign in it can end the text or begin markup."""
    return "".join(sign if sign.isalnum() or sign == " " else f"\\{ord(sign):x} " for sign in text)


def _kind(right: bool, fill: bool) -> str:
    return ' class="right"' if right else ' class="fill"' if fill else ""


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is a class of the style, e.g. `note` or `soft`."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def text_list(items: Sequence[str]) -> str:
    """Return a list of plain text."""
    return f"<ul>{''.join(f'<li>{escaped(item)}</li>' for item in items)}</ul>"


@dataclass(frozen=True)
class Part:
    """A part of a page, under a heading of its own."""

    identity: str
    """Name of the place, for links to it."""
    title: str
    """Plain text."""
    parts: tuple[str, ...]
    """Markup."""
    figures: tuple[Figure, ...] = ()
    """Of the charts in `parts`."""


def parts_page(title: str, lead: Sequence[str], parts: Sequence[Part]) -> str:
    """Return a whole page of parts, with links to them at its beginning.

    Args:
        title: Plain text.
        lead: Markup that stands before the links.
        parts: In the order of the page.
    """
    links = "".join(f'<li><a href="#{part.identity}">{escaped(part.title)}</a></li>' for part in parts)
    header = f'<header><h1>{escaped(title)}</h1>{"".join(lead)}</header><nav aria-label="Contents"><ul>{links}</ul></nav>'
    figures = [one for part in parts for one in part.figures]
    told = [TOLD_WITHOUT.format(beside="")] if figures else []
    return page(title, "\n".join([*told, *map(_section, parts)]), figures, header=header)


def _section(part: Part) -> str:
    place = part.identity
    head = f'<section id="{place}" aria-labelledby="{place}-title"><h2 id="{place}-title">{escaped(part.title)}</h2>'
    return "\n".join([head, *part.parts, "</section>"])


def details(summary: str, parts: Sequence[str], *, is_open: bool = False) -> str:
    """Return what is shown once its `summary`, plain text, is opened; works without scripts."""
    return f"<details{' open' if is_open else ''}><summary>{escaped(summary)}</summary>{''.join(parts)}</details>"


def preformatted(text: str) -> str:
    """Return plain text as it was written, line by line."""
    return f"<pre>{escaped(text)}</pre>"


# --- plots -----------------------------------------------------------------------------------------------------------


def figure(
    identity: str, title: str, data: list[Figure], x: Mapping[str, Any], y: Mapping[str, Any]
) -> Figure:
    """Return a plot for `page`, with the `title` that its heading may have; titles are plain text.

    Plotly reads a little markup in names, titles and labels: what comes from outside passes `escaped` first.
    """
    layout = {
        "xaxis": x,
        "yaxis": y,
        "height": 400,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "legend": {"orientation": "h", "y": 1.12},
        "hovermode": "closest",
    }
    return {"id": identity, "title": title, "data": data, "layout": layout}


BELOW = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
"""A legend of many lines; plotly makes room for it."""


def titled(text: str) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": text, "standoff": 10}}


def whiskers(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Figure:
    """Return the intervals of points, for `error_y`."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - mean for high, mean in zip(highs, means, strict=True)],
        "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
        "thickness": 1,
        "width": 3,
    }


def band(
    x: Sequence[float], low: Sequence[float], high: Sequence[float], *, colour: str, name: str, shape: str
) -> list[Figure]:
    """Return the traces of an area between two lines; it comes and goes with the line of the same `name`."""
    edge = {
        "x": list(x),
        "mode": "lines",
        "line": {"width": 0, "shape": shape, "color": colour},
        "legendgroup": name,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    return [
        {**edge, "y": list(low)},
        {**edge, "y": list(high), "fill": "tonexty", "fillcolor": f"{colour}2e"},
    ]


def amounts_axis(text: str, values: Iterable[float]) -> dict[str, Any]:
    """Return an axis of amounts: logarithmic, with a mark at 1, 2 and 5 of each power of ten, where they lie far apart."""
    known = [value for value in values if value > 0]
    if not known or max(known) < FAR_APART * min(known):
        return {**titled(text), "rangemode": "tozero"}
    powers = range(floor(log10(min(known))), ceil(log10(max(known))) + 1)
    marks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return {**titled(text), "type": "log", "tickvals": marks, "ticktext": [f"{mark:,.10g}" for mark in marks]}


def upright(x: float) -> Figure:
    """Return a dashed line at a place of the horizontal axis, for a layout's `shapes`."""
    line = {"color": "#808080", "dash": "dash", "width": 1.5}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line}


def plots(figures: Sequence[Figure], *, beside: str = "") -> list[str]:
    """Return where plots go, each under its title, with what readers without JavaScript are told.

    Args:
        figures: As `figure` makes them.
        beside: Files that hold the figures too, e.g. ` and in curves.csv beside this page`.
    """
    if not figures:
        return []
    return [
        TOLD_WITHOUT.format(beside=escaped(beside)),
        *(
            f'<section class="scripted"><h2>{escaped(one["title"])}</h2>{_place(one, one["title"])}</section>'
            for one in figures
        ),
    ]


def chart(one: Figure, *, says: str, source: str, values: str = "") -> str:
    """Return where a plot goes, with its caption.

    Args:
        one: As `figure` makes it.
        says: What can be seen in it, in words, for those who cannot; plain text.
        source: What its figures come from; plain text.
        values: Markup of a table with its figures; empty where one stands beside it.
    """
    behind = details("The figures of this chart as a table", [values]) if values else ""
    caption = f"<figcaption><strong>{escaped(one['title'])}.</strong> {escaped(says)} {escaped(source)}</figcaption>"
    return f'<figure>{caption}<div class="scripted">{_place(one, says)}</div>{behind}</figure>'


def _place(one: Figure, says: str) -> str:
    height = one["layout"]["height"]  # kept free, so that nothing moves when the chart comes
    return f'<div class="plot" id="{one["id"]}" role="img" aria-label="{escaped(says)}" style="min-height: {height}px"></div>'


# --- the whole -------------------------------------------------------------------------------------------------------


def page(title: str, body: str, figures: Sequence[Figure], *, header: str = "") -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        body: Markup, escaped already, with an element for each figure's `id`.
        figures: `id`, and plotly's `data` and `layout` (with `xaxis` and `yaxis`).
        header: Markup of what stands before the main part, e.g. links to its sections.
    """
    scripts = [_asset("sort.js")] if 'class="sortable"' in body else []
    digests = []
    if figures:
        bundle, digest = _bundle()
        scripts += [f'const PLOTLY = "{bundle}", FIGURES = {embedded(list(figures))};', _asset("draw.js")]
        digests.append(digest)
    allowed = " ".join(f"'sha256-{digest}'" for digest in [*map(_digest, scripts), *digests]) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(title)}</title>\n<style>{_asset('page.css')}</style>\n{WITHOUT_SCRIPTS}\n</head>\n<body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            header,
            f'<main id="content" tabindex="-1">\n{body}\n</main>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return files("agenttts.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _bundle() -> tuple[str, str]:
    """Return plotly, packed and in base64, and the digest by which the unpacked script is allowed."""
    packed = files("agenttts.report").joinpath("assets", BUNDLE).read_bytes()
    return base64.b64encode(packed).decode(), _digest(gzip.decompress(packed).decode())
