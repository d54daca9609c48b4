"""Every draw that the grid of the task `tiny` can ask for, recorded once: the source of the ground `tiny`.

    python -m grounds.tiny_recording CACHE [--problems 100] [--draws 64]      (in benchmarks/)

For each search problem: `draws` completions of each model at `translate`; then, for each different plan among them
(whatever an allocation selects is one of these), as many at `solve`; and for every different reply what the reward
model gives it. Requests, seeds, parsers and verifiers are the product's own. Written to CACHE/tiny-<...>.npz.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenttts.models.base import Request
from agenttts.models.clients import Clients
from agenttts.models.tiny.model import TinyModel
from agenttts.models.tiny_client import _generation_request
from agenttts.models.tiny_reward import score_messages
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.base import Problem, StageOutput
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.prompts import variables
from agenttts.pipeline.stages import LLMStage
from agenttts.task.task import Task
from agenttts.verifiers.base import Candidate, Told
from agenttts.verifiers.build import build
from agenttts.verifiers.equality import vote_key
from agenttts.verifiers.reward import RewardModelVerifier

STREAMS_AT_ONCE = 8
PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class Draws:
    """Draws of one stage. A row is a prompt: of a problem (translate), or of a problem and a plan (solve)."""

    problem: NDArray[np.int32]
    """Number of the problem, shape (n_rows,)."""
    prefill: NDArray[np.int32]
    """Tokens of the prompt, shape (n_rows,)."""
    answer: NDArray[np.int32]
    """Number of the parsed answer within its row, -1 where none could be parsed; shape (n_rows, n_models, n_draws)."""
    text: NDArray[np.int32]
    """Number of the reply within its row, for replies that are alike; same shape."""
    decode: NDArray[np.int32]
    """Tokens written; same shape."""
    right: NDArray[np.float32]
    """Score of the draw's answer against the gold of its stage; same shape."""
    prm: NDArray[np.float32]
    """What the reward model gives the reply, NaN where it cannot read it or there is no answer; same shape."""
    read: NDArray[np.int32]
    """Tokens that the reward model reads for it; same shape."""
    next_row: NDArray[np.int32]
    """Row of the next stage's prompt that the answer leads to, shape (n_rows, n_models, n_draws); -1 at the last."""
    no_answer_row: NDArray[np.int32]
    """The same where no draw could be parsed, shape (n_rows,)."""


@dataclass(frozen=True)
class Recording:
    """All draws, with the names of what the numbers mean."""

    problems: tuple[str, ...]
    models: tuple[str, ...]
    translate: Draws
    solve: Draws
    plans: tuple[str, ...]
    """Plan of each row of `solve`."""
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {
            f"{stage}.{field.name}": getattr(getattr(self, stage), field.name)
            for stage in ("translate", "solve")
            for field in fields(Draws)
        }
        for name in ("problems", "models", "plans"):
            arrays[name] = np.array(getattr(self, name))
        arrays["seconds"] = np.array(self.seconds)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **arrays)
        part.rename(path)

    @classmethod
    def load(cls, path: Path) -> Recording:
        with np.load(path) as file:
            stages = {
                stage: Draws(**{field.name: file[f"{stage}.{field.name}"] for field in fields(Draws)})
                for stage in ("translate", "solve")
            }
            problems, models, plans = (tuple(map(str, file[n])) for n in ("problems", "models", "plans"))
            return cls(problems, models, stages["translate"], stages["solve"], plans, float(file["seconds"]))


@dataclass
class _Row:
    problem: int
    requests: list[Request]
    """One per model."""
    texts: list[list[str]]
    prefill: int = 0
    decode: Any = None


class Recorder:
    """Draws, parses and scores with the product's own parts, in large batches."""

    def __init__(self, task: Task, problems: Sequence[Problem], n_draws: int) -> None:
        self.task, self.problems, self.n_draws = task, problems, n_draws
        pipeline = Pipeline.build(task)
        self.stages = {stage.name: stage for stage in pipeline.stages if isinstance(stage, LLMStage)}
        self.models = task.file.stages["translate"].models
        self.clients = Clients(task.cards)
        blocks = {
            way.verifier
            for stage in self.stages
            for way in task.file.stages[stage].ways
            if way.verifier is not None
        }
        built = [build(block, task) for block in blocks]
        (self.reward,) = [v for v in built if isinstance(v, RewardModelVerifier)]  # the task has one

    def rows(self, stage: str, prompts: Sequence[tuple[int, dict[str, StageOutput]]]) -> list[_Row]:
        rows = []
        for number, needed in prompts:
            messages = self.stages[stage].prompt.render(variables(self.problems[number], needed))
            requests = [
                self.clients.request(model, messages, self.stages[stage].sampling[model], stage=stage)
                for model in self.models
            ]
            rows.append(_Row(number, requests, []))
        for m, model in enumerate(self.models):
            self._draw(model, m, rows)
            print(f"{stage} {model}: {len(rows) * self.n_draws} draws", flush=True)
        return rows

    def _draw(self, model: str, m: int, rows: list[_Row]) -> None:
        engine = TinyModel.load(self.task.cards[model].served_as)
        for start in range(0, len(rows), STREAMS_AT_ONCE):
            part = rows[start : start + STREAMS_AT_ONCE]
            wanted = [_generation_request(row.requests[m], 0, self.n_draws) for row in part]
            for row, generations in zip(part, engine.generate(wanted), strict=True):
                row.texts.append([g.text for g in generations])
                row.prefill = generations[0].prompt_tokens
                tokens = [g.completion_tokens for g in generations]
                row.decode = [*(row.decode or []), tokens]

    async def draws(self, stage: str, rows: list[_Row]) -> tuple[Draws, list[list[Any]]]:
        """Return the arrays, and the different answers of each row by number."""
        draws = _empty(rows, len(self.models), self.n_draws)
        judged = self._judge(stage, rows)
        known = []
        for r, row in enumerate(rows):
            texts = {t: i for i, t in enumerate(dict.fromkeys(t for ts in row.texts for t in ts))}
            parsed = {t: self.stages[stage].parser.parse(t).answer for t in texts}
            scores = await self._gold(stage, row, parsed)
            numbers, answers = _numbered(parsed)
            # One prompt of the next stage per answer: no two answers that vote alike may be written apart.
            if stage != "solve":
                assert all(a is None or a == answers[numbers[t]] for t, a in parsed.items()), answers
            for m, ts in enumerate(row.texts):
                draws.text[r, m] = [texts[t] for t in ts]
                draws.right[r, m] = [scores[t] for t in ts]
                draws.answer[r, m] = [numbers[t] for t in ts]
                pairs = [judged[r, t] if parsed[t] is not None else (np.nan, 0) for t in ts]
                draws.prm[r, m], draws.read[r, m] = zip(*pairs, strict=True)
            known.append(answers)
        return draws, known

    async def _gold(self, stage: str, row: _Row, parsed: dict[str, Any]) -> dict[str, float]:
        scorer = self.stages[stage].scorer
        assert scorer is not None
        prompt = prompt_text(row.requests[0].messages)
        candidates = [Candidate(prompt, t, a) for t, a in parsed.items()]
        scores = await scorer.score(self.problems[row.problem], candidates)
        return {t: float(s.value or 0.0) for t, s in zip(parsed, scores, strict=True)}

    def _judge(self, stage: str, rows: list[_Row]) -> dict[tuple[int, str], tuple[float, int]]:
        """Return what the reward model gives every different reply, and the tokens it reads."""
        pairs: list[tuple[int, str]] = []
        for r, row in enumerate(rows):
            pairs += [(r, t) for t in dict.fromkeys(t for ts in row.texts for t in ts)]
        found: dict[tuple[int, str], tuple[float, int]] = {}
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = pairs[start : start + PAIRS_AT_ONCE]
            candidates = [_candidate(rows[r], t) for r, t in part]
            replies = score_messages([self.reward.question(one).messages for one in candidates])
            for pair, one, sample in zip(part, candidates, replies, strict=True):
                score = self.reward.read(Told((sample,)), one)
                found[pair] = (np.nan if score.value is None else score.value, sample.prefill_tokens)
        print(f"{stage}: {len(pairs)} replies judged", flush=True)
        return found


def _candidate(row: _Row, text: str) -> Candidate:
    return Candidate(prompt_text(row.requests[0].messages), text, "")


def _empty(rows: Sequence[_Row], n_models: int, n_draws: int) -> Draws:
    """Return arrays to be filled, with what is known of each row."""
    shape = (len(rows), n_models, n_draws)
    return Draws(
        problem=np.array([row.problem for row in rows], np.int32),
        prefill=np.array([row.prefill for row in rows], np.int32),
        answer=np.full(shape, -1, np.int32),
        text=np.zeros(shape, np.int32),
        decode=np.array([row.decode for row in rows], np.int32),
        right=np.zeros(shape, np.float32),
        prm=np.full(shape, np.nan, np.float32),
        read=np.zeros(shape, np.int32),
        next_row=np.full(shape, -1, np.int32),
        no_answer_row=np.full(len(rows), -1, np.int32),
    )


def _numbered(parsed: Mapping[str, Any]) -> tuple[dict[str, int], list[Any]]:
    """Return the number of each text's answer (-1: none), and the answers by number; alike ones share a number."""
    by_key: dict[Any, int] = {}
    numbers: dict[str, int] = {}
    answers: list[Any] = []
    for text, answer in parsed.items():
        numbers[text] = -1
        if answer is not None:
            numbers[text] = by_key.setdefault(vote_key(answer), len(answers))
            if numbers[text] == len(answers):
                answers.append(answer)
    return numbers, answers


async def record(task: Task, problems: Sequence[Problem], n_draws: int) -> Recording:
    begun = time.perf_counter()
    recorder = Recorder(task, problems, n_draws)
    first = recorder.rows("translate", [(i, {}) for i in range(len(problems))])
    translate, plans = await recorder.draws("translate", first)
    places: dict[tuple[int, Any], int] = {}
    for i in range(len(problems)):
        for plan in [*plans[i], None]:
            if plan is not None or (translate.answer[i] < 0).any():
                places[i, plan] = len(places)
    for i in range(len(problems)):
        rows_of = np.array([places[i, plan] for plan in plans[i]] + [-1], np.int32)
        translate.next_row[i] = rows_of[translate.answer[i]]
        translate.no_answer_row[i] = places.get((i, None), -1)
    prompts = [(i, {"translate": StageOutput(plan, text=plan or "")}) for i, plan in places]
    second = recorder.rows("solve", prompts)
    solve, _ = await recorder.draws("solve", second)
    await recorder.clients.aclose()
    return Recording(
        problems=tuple(problem.id for problem in problems),
        models=tuple(recorder.models),
        translate=translate,
        solve=solve,
        plans=tuple(str(plan or "") for _, plan in places),
        seconds=time.perf_counter() - begun,
    )


def recording_path(cache: Path, n_problems: int, n_draws: int) -> Path:
    return cache / f"tiny-{n_problems}-problems-{n_draws}-draws.npz"


def recorded(cache: Path, n_problems: int = 100, n_draws: int = 64) -> Recording:
    """Return the recording from the cache folder; where there is none, make it (some minutes)."""
    path = recording_path(cache, n_problems, n_draws)
    if not path.exists():
        task = Task.load("tiny", n_search=n_problems)
        asyncio.run(record(task, task.search, n_draws)).save(path)
    return Recording.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--draws", type=int, default=64)
    args = parser.parse_args()
    recording = recorded(args.cache, args.problems, args.draws)
    print(
        f"{len(recording.problems)} problems, {len(recording.plans)} plans, {recording.solve.decode.size} draws at solve, "
        f"{recording.seconds:.0f} s: {recording_path(args.cache, args.problems, args.draws)}"
    )


if __name__ == "__main__":
    main()
