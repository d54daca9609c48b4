"""Draws of one stage, held in memory, served in many orders to the package's own strategies (see `spending.py`)."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agenttts.budgets.cards import ModelCard
from agenttts.models.base import Message, Request, Sample
from agenttts.models.sampler import Drawn
from agenttts.pipeline.base import Problem

JUDGE = "tiny/prm"


@dataclass(frozen=True)
class Row:
    """One recorded draw."""

    text: str
    right: float
    prefill: int
    decode: int
    score: float | None = None
    """What the reward model gives it."""
    read: int = 0
    """Tokens that the reward model reads to do so."""


@dataclass(frozen=True)
class Draws:
    """All draws of a ground."""

    name: str
    source: str
    cards: Mapping[str, ModelCard]
    search: tuple[Problem, ...]
    held_out: tuple[Problem, ...]
    rows: Mapping[tuple[str, str], tuple[Row, ...]]
    """(problem id, model) -> draws."""

    @property
    def models(self) -> list[str]:
        return [name for name in self.cards if name != JUDGE]

    @property
    def n_draws(self) -> int:
        return min(len(rows) for rows in self.rows.values())


class Shuffled:
    """Sampler that serves draws in an order set by a seed."""

    def __init__(self, draws: Draws, seed: int) -> None:
        self._draws, self._seed = draws, seed
        self._orders: dict[tuple[str, str], list[Row]] = {}
        self._by_text: dict[str, dict[str, Row]] = {}

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        if request.model == JUDGE:
            return Drawn((self._verdict(request),), 0, 1)
        rows = self._ordered(request.problem_id, request.model)[:n]
        if len(rows) < n:
            raise ValueError(f"{n} draws wanted, {len(rows)} held")
        samples = tuple(
            Sample(i, row.text, "stop", row.prefill, row.decode, details={"recorded_score": row.right})
            for i, row in enumerate(rows)
        )
        return Drawn(samples, 0, n)

    def _ordered(self, problem_id: str, model: str) -> list[Row]:
        key = (problem_id, model)
        if key not in self._orders:
            digest = hashlib.sha256(f"{self._seed}/{problem_id}/{model}".encode()).digest()
            rows = self._draws.rows[key]
            order = np.random.default_rng(list(digest[:8])).permutation(len(rows))
            self._orders[key] = [rows[i] for i in order]
        return self._orders[key]

    def _verdict(self, request: Request) -> Sample:
        if request.problem_id not in self._by_text:
            self._by_text[request.problem_id] = {
                row.text: row
                for model in self._draws.models
                for row in self._draws.rows[request.problem_id, model]
            }
        row = self._by_text[request.problem_id][request.messages[-1].content]
        return Sample(0, json.dumps([row.score]), "stop", row.read, 0)


# --- grounds ---------------------------------------------------------------------------------------------------


def aime(replay: Path) -> Draws:
    """Qwen3 on AIME 2024 (search) and 2025 (held out): 128 draws a problem and model, at several thinking caps."""
    rows: dict[tuple[str, str], list[Row]] = {}
    sizes: dict[str, float] = {}
    problems: dict[str, list[Problem]] = {}
    for year in ("24", "25"):
        with gzip.open(replay / f"aime{year}_qwen3.csv.gz", "rt", newline="") as file:
            seen: dict[str, None] = {}
            for row in csv.DictReader(file):
                name, model = f"{year}-{row['example_id']}", f"{row['model']}@{row['variant']}"
                sizes[model] = 1e9 * float(row["model_params_b"])
                seen[name] = None
                made = Row(
                    row["answer"],
                    float(row["score"] or 0),
                    int(row["prompt_tokens"]),
                    int(row["completion_tokens"]),
                )
                rows.setdefault((name, model), []).append(made)
            problems[year] = [Problem(name, {"id": name}) for name in seen]
    cards = {
        m: ModelCard(name=m, source="recorded", table="-", parameters=n, shares_prefill=True, max_n=1000)
        for m, n in sizes.items()
    }
    return Draws(
        "aime",
        "recorded draws of Qwen3 (AIME 2024 and 2025)",
        cards,
        tuple(problems["24"]),
        tuple(problems["25"]),
        {key: tuple(found) for key, found in rows.items()},
    )


def tiny(cache: Path, n_draws: int = 64) -> Draws:
    """The stage `solve` of the task tiny, given the right plan: draws of every tiny model, with the reward model's score."""
    from agenttts.task.task import Task

    task = Task.load("tiny")
    search, held_out = task.search, task.test()
    path = cache / f"solve-draws-{len(search)}-{len(held_out)}-{n_draws}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_record([*search, *held_out], n_draws)))
    data: dict[str, Any] = json.loads(path.read_text())
    rows = {
        (entry["problem"], entry["model"]): tuple(Row(*row) for row in entry["rows"])
        for entry in data["entries"]
    }
    cards = {name: task.cards[name] for name in ("tiny/xs", "tiny/s", "tiny/m", "tiny/l", JUDGE)}
    return Draws("tiny", "tiny models shipped with agenttts", cards, search, held_out, rows)


def _record(problems: Sequence[Problem], n_draws: int) -> dict[str, Any]:
    from agenttts.models.tiny.model import GENERATORS, GenerationRequest, TinyModel
    from agenttts.models.tiny.problems import answer_of
    from agenttts.models.tiny_reward import score_messages

    entries = []
    for model in GENERATORS:
        loaded = TinyModel.load(model)
        for problem in problems:
            prompt = f"solve: {problem.fields['plan']}"
            seeds = tuple(range(1000, 1000 + n_draws))
            drawn = loaded.generate([GenerationRequest(prompt, seeds, 64, 0.8)])[0]
            texts = list(dict.fromkeys(g.text for g in drawn))
            judged = score_messages([(Message("user", prompt), Message("assistant", t)) for t in texts])
            verdicts = {
                t: (min(json.loads(v.text)), v.prefill_tokens) for t, v in zip(texts, judged, strict=True)
            }
            rows = [
                [
                    g.text,
                    float(answer_of(g.text) == problem.fields["answer"]),
                    g.prompt_tokens,
                    g.completion_tokens,
                    *verdicts[g.text],
                ]
                for g in drawn
            ]
            entries.append({"problem": problem.id, "model": model, "rows": rows})
        print(f"{model}: {len(problems)} problems recorded", flush=True)
    return {"entries": entries}
