"""Refresh what commands print on the pages of docs/: each block after `<!-- output -->` is what came before it printed.

    python tools/docs_outputs.py                  # all pages with such blocks, in the checkout
    python tools/docs_outputs.py docs/tutorial.md

The tests run the same pages and compare the labels of the lines; figures may differ a little from machine to machine.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.documentation.running import Reader  # noqa: E402 - found through the line above
from tests.snippets import Block, blocks  # noqa: E402

MARK = "<!-- output -->\n```text\n"


def refreshed(text: str) -> str:
    """Run a page and return it with fresh outputs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(folder)
        reader = Reader(folder, patch, stack)
        outputs = [out for block in blocks(text) if (out := _done(reader, block)) is not None]
        patch.undo()  # leave the folder before it goes
    first, *rest = text.split(MARK)
    ends = [part.partition("```")[2] for part in rest]
    return first + "".join(f"{MARK}{out}```{end}" for out, end in zip(outputs, ends, strict=True))


def _done(reader: Reader, block: Block) -> str | None:
    """Do a block; return the output for one that shows it."""
    if block.note == "output":
        return "\n".join(line.rstrip() for line in reader.said.strip("\n").splitlines()) + "\n"
    reader.do(block)
    return None


def main() -> None:
    """Refresh the pages that are named, or all."""
    named = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "docs").rglob("*.md"))
    for page in named:
        text = page.read_text(encoding="utf-8")
        if MARK in text:
            page.write_text(refreshed(text), encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
