"""Fit the reward model's two curves: `python tools/tiny/train_prm.py`.

Plans and traces are drawn by all generators, as shipped, on problems of a seed of their own; a step is good while all
up to it agrees with the reference. Writes weights/prm.json. Needs NumPy only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from agenttts.models.tiny import problems as tasks  # noqa: E402  (found through the path set above)
from agenttts.models.tiny.model import GENERATORS, GenerationRequest, TinyModel  # noqa: E402
from agenttts.models.tiny.reward import TinyRewardModel  # noqa: E402

WEIGHTS = ROOT / "agenttts/models/tiny/weights"
JUDGE = "tiny/s"
"""Not a larger one: those hardly err, and a verifier that hardly errs is nothing to study."""
Floats = npt.NDArray[np.float64]
Row = tuple[str, str, str]
"""Prompt, completion, reference."""


def labels(completion: str, reference: str) -> list[bool]:
    """Return whether each prefix of the completion, by steps, is one of the reference; and whether all is right."""
    got, expected = completion.strip().split(" "), reference.split(" ")
    steps = [got[: i + 1] == expected[: i + 1] for i in range(len(got))] if completion.strip() else []
    return [*steps, got == expected]


def draw(name: str, prompts: list[str]) -> list[str]:
    """Return one completion of every prompt."""
    requests = [GenerationRequest(prompt, (0,), 48, 0.8) for prompt in prompts]
    return [generations[0].text for generations in TinyModel.load(name).generate(requests)]


def collect(n_problems: int, seed: str) -> list[Row]:
    """Draw plans, and traces of the true plans, with every generator; held-out problems do not occur."""
    lines = (ROOT / "tasks/tiny/problems.jsonl").read_text().splitlines()
    held_out = frozenset(
        itertools.chain.from_iterable((r["text"], r["plan"]) for r in map(json.loads, lines))
    )
    rows: list[Row] = []
    for name in GENERATORS:
        fresh = list(itertools.islice(tasks.problems(f"{seed}-{name}", held_out), n_problems))
        for prompts, references in (
            ([f"translate: {p.text}" for p in fresh], [p.plan for p in fresh]),
            ([f"solve: {p.plan}" for p in fresh], [p.trace for p in fresh]),
        ):
            rows += zip(prompts, draw(name, prompts), references, strict=True)
    return rows


def judged(model: TinyRewardModel, rows: list[Row]) -> dict[str, tuple[Floats, Floats]]:
    """Return, for steps and for wholes, the least log probabilities and whether all was right (1.0 or 0.0)."""
    found: dict[str, tuple[list[float], list[float]]] = {"step": ([], []), "whole": ([], [])}
    least = model.least_log_probabilities([(prompt, completion) for prompt, completion, _ in rows])
    for values, (_, completion, reference) in zip(least, rows, strict=True):
        truth = labels(completion, reference)
        if len(truth) == len(values):
            for kind, part in (("step", slice(0, -1)), ("whole", slice(-1, None))):
                found[kind][0].extend(values[part])
                found[kind][1].extend(map(float, truth[part]))
    return {kind: (np.array(x), np.array(y)) for kind, (x, y) in found.items()}


def fit(x: Floats, y: Floats) -> list[float]:
    """Return intercept and slope of the logistic curve of largest likelihood, by Newton's method."""
    design = np.stack((np.ones_like(x), x), axis=1)
    curve = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ curve, -30, 30)))
        weights = p * (1 - p) + 1e-9
        curve = curve + np.linalg.solve(design.T @ (design * weights[:, None]), design.T @ (y - p))
    return [round(float(value), 5) for value in curve]


def auc(scores: Floats, good: Floats) -> float:
    """Return the chance that a good one scores higher than a bad one, ties counting half."""
    right, wrong = scores[good == 1], np.sort(scores[good == 0])
    below = np.searchsorted(wrong, right, "left") + np.searchsorted(wrong, right, "right")
    return float(below.mean() / 2 / len(wrong))


def main() -> None:
    """Draw, fit, write and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=500, help="per generator")
    arguments = parser.parse_args()
    generator = TinyModel.load(JUDGE)
    model = TinyRewardModel(
        generator.n_parameters, generator.n_layers, generator.width, generator.network, (0.0, 1.0), (0.0, 1.0)
    )
    data = judged(model, collect(arguments.problems, "reward"))
    config = {
        "format": 1,
        "generator": generator.name,
        "parameters": generator.n_parameters,
        "layers": generator.n_layers,
        "width": generator.width,
        "step_curve": fit(*data["step"]),
        "whole_curve": fit(*data["whole"]),
    }
    (WEIGHTS / "prm.json").write_text(json.dumps(config, indent=1) + "\n")
    rows = collect(arguments.problems, "reward-check")
    fresh = {
        stage: judged(model, [r for r in rows if r[0].startswith(stage)]) for stage in ("translate", "solve")
    }
    for stage, kinds in fresh.items():
        print(stage, {kind: round(auc(*values), 4) for kind, values in kinds.items()})
    print(config)


if __name__ == "__main__":
    main()
