"""Refresh what the pages of docs/ show: the output of commands, and the files of docs/examples/.

    python tools/docs_outputs.py                  # all pages, in the checkout
    python tools/docs_outputs.py docs/tutorial.md

A block after `<!-- output -->` becomes what the block before it printed, one after `<!-- file: NAME.py -->` the example of
that name. The tests run the same pages and compare the labels of the lines; figures may differ a little from machine to machine.
"""

from __future__ import annotations

import re
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
EXAMPLE = re.compile(r"(<!-- file: \S*?(\w+\.py) -->\n```python\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)


def with_examples(text: str) -> str:
    """Return a page with the examples as they are now."""
    files = {
        path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "examples").glob("*.py")
    }
    return EXAMPLE.sub(lambda found: found[1] + files.get(found[2], found[3]) + found[4], text)


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
        old = page.read_text(encoding="utf-8")
        new = with_examples(old)
        new = refreshed(new) if MARK in new else new
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
