"""Refresh the quotes in docs/tasks/*.md: what `agenttts check` says of one problem, of a search, and of the paper's protocol.

    python tools/task_quotes.py            # writes
    python tools/task_quotes.py --check    # exit code 1 where a page is out of date

Without the published data a search is quoted on rows of the sample, repeated under new ids until there are as many as the
task says: lengths are those that the task states, so what rows hold does not matter.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "tasks"
BLOCK = re.compile(r"(## What a run costs\n.*?```\n)(.*?)(\n```)", re.DOTALL)
STUDY = re.compile(r"(A search of .*?```\n)(.*?)(\n```\n\n)(The protocol .*?)(\n\n|\n*\Z)", re.DOTALL)
METHODS, SEEDS = 6, 3
"""Of `agenttts paper`: so many searches of each of so many methods."""


def quote(name: str) -> str:
    """Return the part of the output that is about one problem: the space, and its cheapest and dearest allocation."""
    told = _check(name, "sample")
    return told[told.index("\nspace ") + 1 : told.index("\nQuote for")].strip("\n")


def study_quote(name: str, folder: Path) -> tuple[str, str]:
    """Return the quote of a search on as many problems as the task says, and a line on the protocol of the paper.

    Args:
        name: The task.
        folder: An empty one for the rows.
    """
    data = full_size(name, folder)
    told = _check(name, str(data))
    table = re.search(r"^Quote for.*?(?=\n\n)", told, re.MULTILINE | re.DOTALL)
    if table is None:
        raise ValueError(f"{name}: check gives no quote")
    return table[0], protocol(name, data)


def full_size(name: str, folder: Path) -> Path:
    """Write as many rows for search and for test as the task says, made of those of its sample."""
    task = ROOT / "tasks" / name
    splits = yaml.safe_load((task / "task.yaml").read_text(encoding="utf-8"))["splits"]
    for split in ("search", "test"):
        text = (task / "sample" / f"{split}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        many = islice(cycle(rows), splits[split]["n"])
        lines = [json.dumps({**row, "id": f"{split}-{place}"}) + "\n" for place, row in enumerate(many)]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def protocol(name: str, data: Path) -> str:
    """Return what all searches and tests of `agenttts paper` are expected to take, planner apart, in one sentence."""
    from agenttts._cli.compare import tested_cost
    from agenttts._cli.quoting import forecast
    from agenttts.report.words import amount_text
    from agenttts.study.paper_opening import PaperRequest, prepare_paper

    with tempfile.TemporaryDirectory() as out:
        setup = prepare_paper(PaperRequest(task=name, data=data, methods=["random"], out=Path(out) / "paper"))
        options = next(iter(setup.folder.options.values()))
        n, n_search = METHODS * SEEDS, len(setup.folder.task.search)
        searches = forecast(setup.folder.task, options).quote.expected.cost.scaled(n)
        tests = tested_cost(setup.folder, options, n, setup.n_test)
    found = [
        "an unknown number of" if cost.flops is None else amount_text(cost.flops / 1e9)
        for cost in (searches, tests)
    ]
    return (
        f"The protocol of `agenttts paper` ({n} searches of {options.n_trials} trials on {n_search} problems, then at most\n"
        f"{n} allocations on {setup.n_test} test problems) is expected to take {found[0]} GFLOPs for the searches, had each to\n"
        f"pay for itself, and {found[1]} GFLOPs for the tests; the planner comes on top."
    )


def _check(name: str, data: str) -> str:
    command = [sys.executable, "-m", "agenttts", "check", name, "--data", data]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def refreshed(text: str, name: str) -> str:
    """Return a page with its quotes of today; a page without any stays as it is."""
    if (block := BLOCK.search(text)) is None:
        return text
    text = text[: block.start(2)] + quote(name) + text[block.end(2) :]
    if (study := STUDY.search(text)) is None:
        return text
    with tempfile.TemporaryDirectory() as folder:
        table, line = study_quote(name, Path(folder))
    return text[: study.start(2)] + table + study[3] + line + text[study.end(4) :]


def main() -> int:
    """Refresh all pages, or tell which are out of date."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        fresh = refreshed(text, page.stem)
        if fresh != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(fresh, encoding="utf-8")
    print(f"{'out of date' if '--check' in sys.argv else 'refreshed'}: {', '.join(stale) or 'none'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
