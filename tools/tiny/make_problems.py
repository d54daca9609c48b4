"""Write the held-out problems, fixed by seed: `python tools/tiny/make_problems.py`."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from agenttts.models.tiny.problems import problems  # noqa: E402  (found through the path set above)

SPLITS = {"search": 200, "test": 1000}


def main() -> None:
    """Write all splits to one file, no text or plan twice."""
    seen: set[str] = set()
    lines = []
    for split, count in SPLITS.items():
        fresh = (p for p in problems(f"held-out-{split}") if not {p.text, p.plan} & seen)
        for number, problem in enumerate(itertools.islice(fresh, count)):
            seen |= {problem.text, problem.plan}
            row = {
                "id": f"{split}-{number:04d}",
                "split": split,
                "text": problem.text,
                "plan": problem.plan,
                "answer": problem.answer,
                "n_steps": problem.n_steps,
            }
            lines.append(json.dumps(row))
    (ROOT / "tasks/tiny/problems.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
