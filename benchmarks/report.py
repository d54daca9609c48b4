"""How large the page of a run with 1,000 trials is, how long it takes to make, and to be seen in a browser.

The run is a real one: 1,000 random allocations of the tiny task on 40 search problems (some minutes; figures come from
tiny models shipped with agenttts). It is made in a temporary folder, or an existing run is named. Time to first paint is
Chromium's own `first-contentful-paint`, from the start of the navigation; to the last chart it is asked for every 0.1 s.
Medians. Targets: below 2 MB, first paint within 1 s. Exit code 1 where one is missed.

    python benchmarks/report.py [RUN] [--repetitions 5]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.report.browsing import looked_at  # noqa: E402  (the tests are no package that is installed)

OUT = ROOT / "runs" / "benchmarks" / "report.json"
MOST_BYTES, MOST_PAINT_MS = 2_000_000, 1000.0
SEARCH = [
    "optimize",
    "tiny",
    "--budget",
    "0.2",
    "--allocator",
    "random",
    "--trials",
    "1000",
    "--search-problems",
    "40",
]
CHARTS = "document.querySelectorAll('.js-plotly-plot').length"


def searched(folder: Path) -> Path:
    command = [sys.executable, "-m", "agenttts", *SEARCH, "--run", str(folder / "run"), "--json"]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return folder / "run"


def made(run: Path) -> tuple[str, int, float, float]:
    """Return the page, the number of trials in it, and the seconds for its facts and for its markup."""
    from agenttts.report.facts import facts_of
    from agenttts.report.run_page import run_page

    start = time.perf_counter()
    facts = facts_of(run)
    between = time.perf_counter()
    text = run_page(facts)
    return text, len(facts.trials), between - start, time.perf_counter() - between


def measure(run: Path, repetitions: int) -> dict[str, object]:
    made(run)  # loads the libraries
    pages = [made(run) for _ in range(repetitions)]
    text = pages[0][0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        seen = [looked_at(text, Path(folder), ["performance.now()", CHARTS]) for _ in range(repetitions)]
    return {
        "n_trials": pages[0][1],
        "bytes": len(text.encode()),
        "median_facts_s": round(statistics.median(one[2] for one in pages), 3),
        "median_page_s": round(statistics.median(one[3] for one in pages), 3),
        "median_first_paint_ms": round(statistics.median(one.first_paint_ms for one in seen)),
        "median_all_charts_ms": round(statistics.median(one.answers[0] for one in seen)),
        "n_charts": seen[0].answers[1],
        "complaints": sorted({told for one in seen for told in one.complaints}),
        "repetitions": repetitions,
        "figures_from": "tiny models shipped with agenttts",
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = measure(asked.run or searched(Path(folder)), asked.repetitions)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    met = (
        result["bytes"] < MOST_BYTES
        and result["median_first_paint_ms"] < MOST_PAINT_MS
        and not result["complaints"]
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
