"""Measure the tiny family on the held-out test problems: `python tools/tiny/evaluate.py`.

Writes runs/benchmarks/tiny_family.json and the tables between the markers in MODEL_CARD.md. Intervals are 95 %
percentile bootstraps over problems (2,000 resamples), so they hold for other problems, not for other trainings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from agenttts.models.tiny import GENERATORS, GenerationRequest, TinyModel, TinyRewardModel  # noqa: E402  (path above)
from agenttts.models.tiny.problems import answer_of  # noqa: E402

Floats = npt.NDArray[np.float64]
WEIGHTS = ROOT / "agenttts/models/tiny/weights"
STAGES = ("translate", "solve")
COUNTS = (1, 2, 4, 8, 16, 32)
PAIR_COUNTS = (1, 2, 4, 8, 16)
TEMPERATURE = 0.8
MAX_TOKENS = 48
RESAMPLES = 2000


@dataclass(frozen=True)
class Draws:
    """Answers of one stage and model, shape (problems, draws), whether each is right, and its rewards."""

    answers: list[list[str]]
    right: npt.NDArray[np.bool_]
    rewards: Floats
    tokens: float
    """Mean completion tokens of a draw."""
    prompt_tokens: float


def draw(job: tuple[str, Sequence[str], int]) -> list[list[str]]:
    """Return completions of every prompt: model, prompts and how many of each."""
    name, prompts, count = job
    return [[text for text, _, _ in row] for row in _generated(name, prompts, count)]


def _generated(name: str, prompts: Sequence[str], count: int) -> list[list[tuple[str, int, int]]]:
    """Return text, completion and prompt tokens of every draw, kept in the folder that TINY_DRAWS names, if any."""
    folder = os.environ.get("TINY_DRAWS")
    weights = (WEIGHTS / f"{name.removeprefix('tiny/')}.safetensors").read_bytes()
    key = hashlib.sha256(weights + json.dumps([prompts, count, TEMPERATURE]).encode()).hexdigest()[:24]
    path = Path(folder or ".") / f"{key}.json"
    if folder and path.exists():
        return json.loads(path.read_text())  # type: ignore[no-any-return]  # written below
    requests = [GenerationRequest(p, tuple(range(count)), MAX_TOKENS, TEMPERATURE) for p in prompts]
    drawn = TinyModel.load(name).generate(requests)
    rows = [[(g.text, g.completion_tokens, g.prompt_tokens) for g in row] for row in drawn]
    if folder:
        path.write_text(json.dumps(rows))
    return rows


def answer(stage: str, text: str) -> str:
    """Return what a completion answers; completions that answer nothing answer ''."""
    if stage == "translate":
        return text.strip()
    number = answer_of(text)
    return "" if number is None else str(number)


def measure(job: tuple[str, str, Sequence[str], Sequence[str]]) -> Draws:
    """Draw, parse and score one stage of one model: stage, model, prompts and true answers."""
    stage, name, prompts, truths = job
    generated = _generated(name, prompts, COUNTS[-1])
    texts = [[text for text, _, _ in row] for row in generated]
    rewards = whole_rewards([(p, t) for p, row in zip(prompts, texts, strict=True) for t in row])
    answers = [[answer(stage, text) for text in row] for row in texts]
    right = np.array([[a == truth for a in row] for row, truth in zip(answers, truths, strict=True)])
    tokens = float(np.mean([[written for _, written, _ in row] for row in generated]))
    read = float(np.mean([row[0][2] for row in generated]))
    return Draws(answers, right, np.array(rewards).reshape(right.shape), tokens, read)


def whole_rewards(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Return the reward of every whole, each distinct pair judged once."""
    distinct = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    scores = dict(zip(distinct, (s[-1] for s in TinyRewardModel.load().score(distinct)), strict=True))
    return [scores[pair] for pair in pairs]


def majority(answers: Sequence[str]) -> int:
    """Return the index of the answer given most often, the earliest of equals; '' loses to all."""
    counts = Counter(a for a in answers if a)
    return max(range(len(answers)), key=lambda i: (counts.get(answers[i], 0), -i))


def weighted(answers: Sequence[str], rewards: Sequence[float]) -> int:
    """Return the index of the answer with the largest sum of rewards."""
    sums: Counter[str] = Counter()
    for text, reward in zip(answers, rewards, strict=True):
        sums[text] += reward if text else 0.0  # type: ignore[assignment]  # Counter holds floats just as well
    return max(range(len(answers)), key=lambda i: (sums[answers[i]], -i))


Selector = Callable[[Sequence[str], Sequence[float]], int]
SELECTORS: dict[str, Selector] = {
    "majority": lambda answers, rewards: majority(answers),
    "prm_best": lambda answers, rewards: int(np.argmax(rewards)),
    "prm_vote": weighted,
}


def selected(draws: Draws, count: int, selector: Selector) -> Floats:
    """Return, per problem, the share of right selections over disjoint blocks of `count` draws."""
    blocks = range(0, COUNTS[-1] - count + 1, count)
    rows = [
        np.mean(
            [
                draws.right[i, b + selector(draws.answers[i][b : b + count], draws.rewards[i, b : b + count])]
                for b in blocks
            ]
        )
        for i in range(len(draws.right))
    ]
    return np.array(rows, dtype=np.float64)


def interval(values: Floats) -> list[float]:
    """Return mean and 95 % limits of a mean over problems."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    return [round(float(x), 4) for x in (values.mean(), *np.percentile(means, (2.5, 97.5)))]


def stage_table(draws: Draws) -> dict[str, object]:
    """Return accuracies with limits by way of selecting and number of draws."""
    table: dict[str, object] = {
        "tokens": round(draws.tokens, 2),
        "prompt_tokens": round(draws.prompt_tokens, 2),
    }
    table["single"] = interval(draws.right.mean(axis=1))
    for name, selector in SELECTORS.items():
        table[name] = {str(n): interval(selected(draws, n, selector)) for n in COUNTS[1:]}
    table["oracle"] = {
        str(n): interval(draws.right.reshape(len(draws.right), -1, n).any(axis=2).mean(axis=1))
        for n in COUNTS[1:]
    }
    return table


def flops(model: TinyModel, prompt_tokens: float, tokens: float, count: int) -> float:
    """Return 2 N (prompt + draws x completion), attention left out."""
    return 2 * model.n_parameters * (prompt_tokens + count * tokens)


def end_to_end(
    rows: Sequence[dict[str, str]],
    plans: dict[str, Draws],
    tables: dict[str, dict[str, object]],
    pool: ProcessPoolExecutor,
) -> list:  # type: ignore[type-arg]  # of JSON
    """Return accuracy and cost of every pair of models and draw counts, by majority in both stages."""
    chosen = {
        (name, n): [a[majority(a[:n])] for a in (plans[name].answers[i] for i in range(len(rows)))]
        for name in GENERATORS
        for n in PAIR_COUNTS
    }
    distinct = sorted(
        {plan for column in chosen.values() for plan in column}, key=lambda plan: (len(plan), plan)
    )
    results = []
    prompts = [f"solve: {plan}" for plan in distinct]
    drawings = pool.map(draw, [(name, prompts, PAIR_COUNTS[-1]) for name in reversed(GENERATORS)])
    for solver, drawn in zip(map(TinyModel.load, reversed(GENERATORS)), drawings, strict=True):
        answers = {
            plan: [answer("solve", t) for t in texts] for plan, texts in zip(distinct, drawn, strict=True)
        }
        for (name, n), column in chosen.items():
            for m in PAIR_COUNTS:
                votes = [answers[plan][:m] for plan in column]
                right = np.array(
                    [v[majority(v)] == str(r["answer"]) for v, r in zip(votes, rows, strict=True)], float
                )
                cost = sum(
                    flops(
                        TinyModel.load(x),
                        tables[f"{s} {x}"]["prompt_tokens"],
                        tables[f"{s} {x}"]["tokens"],
                        k,
                    )  # type: ignore[arg-type]  # numbers
                    for s, x, k in (("translate", name, n), ("solve", solver.name, m))
                )
                results.append(
                    {
                        "translate": [name, n],
                        "solve": [solver.name, m],
                        "flops": round(cost),
                        "accuracy": round(float(right.mean()), 4),
                        "right": right,
                    }
                )
    return results


def frontier(results: Sequence[dict]) -> list[dict]:  # type: ignore[type-arg]  # of JSON
    """Return the results that nothing cheaper equals, cheapest first, with limits."""
    best, kept = -1.0, []
    for result in sorted(results, key=lambda r: (r["flops"], -r["accuracy"])):
        if result["accuracy"] > best:
            best = result["accuracy"]
            kept.append(
                {**{k: v for k, v in result.items() if k != "right"}, "limits": interval(result["right"])[1:]}
            )
    return kept


def small_against_large(results: Sequence[dict]) -> dict[str, object]:  # type: ignore[type-arg]  # of JSON
    """Compare, paired by problem, one draw of the largest in both stages with the best that costs no more."""
    largest = GENERATORS[-1]
    one = next(r for r in results if r["translate"] == [largest, 1] and r["solve"] == [largest, 1])
    rivals = [r for r in results if r["flops"] <= one["flops"] and r is not one]
    half = len(one["right"]) // 2
    best = max(rivals, key=lambda r: r["right"][:half].mean())  # chosen on one half, compared on the other
    return {
        "best": {k: best[k] for k in ("translate", "solve", "flops", "accuracy")},
        "large_once": {k: one[k] for k in ("flops", "accuracy")},
        "difference_on_second_half": interval(best["right"][half:] - one["right"][half:]),
    }


def optimum_by_upstream(results: Sequence[dict]) -> list[dict]:  # type: ignore[type-arg]  # of JSON
    """Return, for each upstream, how much the dearest solver adds to the cheapest, with limits."""

    def at(upstream: list, solver: list) -> Floats:  # type: ignore[type-arg]  # name and count
        found: Floats = next(
            r["right"] for r in results if r["translate"] == upstream and r["solve"] == solver
        )
        return found

    gains = []
    for name in GENERATORS:
        for n in (1, PAIR_COUNTS[-1]):
            change = at([name, n], [GENERATORS[-1], 16]) - at([name, n], [GENERATORS[0], 1])
            gains.append({"translate": [name, n], "gain": interval(change)})
    return gains


def speed(model: TinyModel, prompts: Sequence[str]) -> int:
    """Return completion tokens a second in batches of 256."""
    requests = [GenerationRequest(p, (0, 1), MAX_TOKENS, TEMPERATURE) for p in prompts[:256]]
    started = time.perf_counter()
    tokens = sum(g.completion_tokens for row in model.generate(requests) for g in row)
    return round(tokens / (time.perf_counter() - started))


def read_rows(split: str) -> list[dict]:  # type: ignore[type-arg]  # of JSON
    """Return the problems of a split."""
    lines = (ROOT / "tasks/tiny/problems.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def markdown(result: dict) -> str:  # type: ignore[type-arg]  # of JSON
    """Return the tables of the card."""
    lines = [
        "| stage, model | single | majority 4 / 8 / 32 | PRM best 8 / 32 | PRM vote 8 / 32 | oracle 32 |",
        "|---|---|---|---|---|---|",
    ]
    for key, table in result["stages"].items():

        def cells(way: str, counts: Iterable[int], table: dict = table) -> str:  # type: ignore[type-arg]  # of JSON
            return " / ".join(f"{table[way][str(n)][0]:.3f}" for n in counts)

        mean, low, high = table["single"]
        lines.append(
            f"| {key} | **{mean:.3f}** [{low:.3f}, {high:.3f}] | {cells('majority', (4, 8, 32))} | "
            f"{cells('prm_best', (8, 32))} | {cells('prm_vote', (8, 32))} | {cells('oracle', (32,))} |"
        )
    lines += [
        "",
        "Best allocation by cost, majority in both stages:",
        "",
        "| translate | solve | FLOPs | accuracy |",
        "|---|---|---|---|",
    ]
    for row in result["frontier"]:
        (a, n), (b, m) = row["translate"], row["solve"]
        low, high = row["limits"]
        lines.append(
            f"| {a} x {n} | {b} x {m} | {row['flops']:.2e} | {row['accuracy']:.3f} [{low:.3f}, {high:.3f}] |"
        )
    return "\n".join(lines)


def write_card(result: dict) -> None:  # type: ignore[type-arg]  # of JSON
    """Replace what stands between the markers of the card."""
    card = ROOT / "agenttts/models/tiny/MODEL_CARD.md"
    start, end = "<!-- tables: begin -->", "<!-- tables: end -->"
    text = card.read_text()
    head, tail = text.split(start)[0], text.split(end)[1]
    card.write_text(f"{head}{start}\n{markdown(result)}\n{end}{tail}")


def main() -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="test")
    parser.add_argument("--problems", type=int, help="only the first so many")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/benchmarks/tiny_family.json")
    arguments = parser.parse_args()
    rows = read_rows(arguments.split)[: arguments.problems]
    tables: dict[str, dict[str, object]] = {}
    plans: dict[str, Draws] = {}
    given = {
        "translate": ([f"translate: {r['text']}" for r in rows], [r["plan"] for r in rows]),
        "solve": ([f"solve: {r['plan']}" for r in rows], [str(r["answer"]) for r in rows]),
    }
    jobs = [(stage, name, *given[stage]) for name in reversed(GENERATORS) for stage in STAGES]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for (stage, name, *_), drawn in zip(jobs, pool.map(measure, jobs), strict=True):
            tables[f"{stage} {name}"] = stage_table(drawn)
            print(stage, name, tables[f"{stage} {name}"]["single"], flush=True)
            if stage == "translate":
                plans[name] = drawn
        results = end_to_end(rows, plans, tables, pool)
    tables = {f"{stage} {name}": tables[f"{stage} {name}"] for stage in STAGES for name in GENERATORS}
    models = {
        name: {
            "parameters": TinyModel.load(name).n_parameters,
            "tokens_per_second": speed(TinyModel.load(name), [f"solve: {r['plan']}" for r in rows]),
        }
        for name in GENERATORS
    }
    result = {
        "source": "tiny",
        "split": arguments.split,
        "problems": len(rows),
        "temperature": TEMPERATURE,
        "intervals": f"95 % percentile bootstrap over problems, {RESAMPLES} resamples",
        "models": models,
        "stages": tables,
        "frontier": frontier(results),
        "small_against_large": small_against_large(results),
        "solver_gain_by_upstream": optimum_by_upstream(results),
        "grid": [{k: v for k, v in r.items() if k != "right"} for r in results],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.out.name == "tiny_family.json":
        write_card(result)
    print(
        json.dumps(
            {k: result[k] for k in ("models", "frontier", "small_against_large", "solver_gain_by_upstream")}
        )
    )


if __name__ == "__main__":
    main()
