"""Refresh the quotes in docs/tasks/*.md: what `agenttts check NAME --data sample` says now of one problem.

    python tools/task_quotes.py            # writes
    python tools/task_quotes.py --check    # exit code 1 where a page is out of date
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGES = Path(__file__).resolve().parent.parent / "docs" / "tasks"
BLOCK = re.compile(r"(## What a run costs\n.*?```\n)(.*?)(\n```)", re.DOTALL)


def quote(name: str) -> str:
    """Return the part of the output that is about one problem: the space, and its cheapest and dearest allocation."""
    command = [sys.executable, "-m", "agenttts", "check", name, "--data", "sample"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PAGES.parent).stdout
    return told[told.index("\nspace ") + 1 : told.index("\nQuote for")].strip("\n")


def main() -> int:
    """Refresh all pages, or tell which are out of date."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (block := BLOCK.search(text)) is None:
            continue
        fresh = text[: block.start(2)] + quote(page.stem) + text[block.end(2) :]
        if fresh != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(fresh, encoding="utf-8")
    print(f"{'out of date' if '--check' in sys.argv else 'refreshed'}: {', '.join(stale) or 'none'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
