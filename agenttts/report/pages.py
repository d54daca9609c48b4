"""The frame of a page that opens anywhere: one file, no network, light and dark, readable without JavaScript.

Everything that comes from outside passes `escaped`; data for scripts pass `embedded`. A policy in the page allows the
scripts written into it, by their digest, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "COLOURS",
    "DASHES",
    "MARKS",
    "embedded",
    "escaped",
    "figure",
    "page",
    "table",
    "text_list",
    "titled",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f6fbf", "#808080")
"""Told apart by most kinds of sight, on light and dark ground; after Okabe and Ito."""
DASHES = ("solid", "dash", "dot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "x", "star")

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6675; --line: #d9dfe6; --back: #ffffff; --tint: #f4f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9f0; --soft: #9aa7b6; --line: #364150; --back: #14191f; --tint: #1d242c; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.soft { color: var(--soft); } .note { background: var(--tint); border-left: 4px solid #d98c00; padding: .5rem .8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); }
.plot { min-height: 25rem; margin: .5rem 0 1.5rem; }
"""

WITHOUT_SCRIPTS = "<noscript><style>.scripted { display: none; }</style></noscript>"
"""Elements of class `scripted` stay empty without JavaScript, and are not shown then."""

DRAW = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  for (const figure of FIGURES) {
    const layout = JSON.parse(JSON.stringify(figure.layout));
    for (const axis of ["xaxis", "yaxis"]) Object.assign(layout[axis], {gridcolor: line, linecolor: line, zeroline: false});
    Object.assign(layout, {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {color: ink, family: "system-ui, sans-serif", size: 13}});
    const place = document.getElementById(figure.id);
    if (!place.classList.contains("js-plotly-plot")) place.textContent = "";
    Plotly.react(place, figure.data, layout, {responsive: true, displaylogo: false});
  }
}
dark.addEventListener("change", draw);
draw();
"""


def escaped(text: object) -> str:
    """Return text that is no markup, whatever it holds; control characters are shown as blanks."""
    shown = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in str(text))
    return html.escape(shown, quote=True)


def embedded(value: Any) -> str:
    """Return JSON that can stand in a script: no text in it can end the script or begin markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain text."""
    top = "".join(f"<th>{escaped(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def text_list(items: Sequence[str]) -> str:
    """Return a list of plain text."""
    return f"<ul>{''.join(f'<li>{escaped(item)}</li>' for item in items)}</ul>"


def figure(
    identity: str, title: str, data: list[dict[str, Any]], x: Mapping[str, Any], y: Mapping[str, Any]
) -> dict[str, Any]:
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


def titled(text: str) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": text}}


def page(title: str, body: str, figures: Sequence[Mapping[str, Any]]) -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        body: Markup, escaped already, with an element for each figure's `id`.
        figures: `id`, and plotly's `data` and `layout` (with `xaxis` and `yaxis`).
    """
    from plotly.offline import get_plotlyjs

    scripts = [get_plotlyjs(), f"const FIGURES = {embedded(list(figures))};{DRAW}"] if figures else []
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n{WITHOUT_SCRIPTS}\n</head>\n<body>",
            body,
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
