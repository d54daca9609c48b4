"""How long `agenttts --help` takes, against `python -c "import typer"`, which it stands on.

Both are started in turn, so that a busy machine slows both. The figure is the median of the ratios of neighbours; its
interval comes from a bootstrap over the pairs. Target: at most 4. Exit code 1 where it is missed.

    python benchmarks/startup.py [--repetitions 31]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET = 4.0
OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "startup.json"


def command_line() -> list[str]:
    """Return the installed script where there is one, because that is what users start."""
    script = shutil.which("agenttts", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "agenttts"]


def wall_s(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(repetitions: int) -> dict[str, object]:
    ours, base = [*command_line(), "--help"], [sys.executable, "-c", "import typer"]
    wall_s(ours), wall_s(base)  # warm the file cache and the byte code
    pairs = [(wall_s(ours), wall_s(base)) for _ in range(repetitions)]
    ratios = [a / b for a, b in pairs]
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {
        "command": "agenttts --help",
        "against": 'python -c "import typer"',
        "repetitions": repetitions,
        "median_ratio": round(statistics.median(ratios), 3),
        "interval_95": [round(medians[49], 3), round(medians[1949], 3)],
        "interval_method": "percentile bootstrap over pairs, 2000 draws",
        "median_ours_s": round(statistics.median(a for a, _ in pairs), 4),
        "median_base_s": round(statistics.median(b for _, b in pairs), 4),
        "target": TARGET,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=31)
    result = measure(parser.parse_args().repetitions)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if float(str(result["median_ratio"])) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
