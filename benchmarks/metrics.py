"""Our metrics against their official definitions: how many cases, and the largest difference.

Definitions are written again in `official.py` from what the scripts do; ROUGE-L is compared with the library itself. Cases
are generated, and made of the real data sets below AGENTTTS_TASK_DATA (hotpotqa, twowiki, webqsp, cwq, ultratool) where
that is set. Rows that a definition of ours differs in on purpose say so. Exit code 1 where a row passes what is expected.

    AGENTTTS_TASK_DATA=... python benchmarks/metrics.py [--cases 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import official
from rich.console import Console
from rich.table import Table

from agenttts.pipeline.base import Problem
from agenttts.sandbox import Limits
from agenttts.verifiers import rules
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.completeness import Completeness
from agenttts.verifiers.executable import ExecutableVerifier
from agenttts.verifiers.rouge import rouge_l
from agenttts.verifiers.tools import node_f1, parameter_f1

OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "metrics.json"
DATA = Path(os.environ.get("AGENTTTS_TASK_DATA", "/nonexistent"))
EXACT = 1e-12
"""Largest difference where a row should have none: rounding."""


@dataclass(frozen=True)
class Row:
    metric: str
    definition: str
    cases: int
    largest: float
    n_different: int
    expected: str
    """Empty: there should be no difference; else why there is one."""

    @property
    def holds(self) -> bool:
        return bool(self.expected) or self.largest <= EXACT


def row(metric: str, definition: str, pairs: Iterable[tuple[float, float]], expected: str = "") -> Row:
    differences = [abs(ours - theirs) for ours, theirs in pairs]
    different = sum(difference > EXACT for difference in differences)
    return Row(metric, definition, len(differences), max(differences), different, expected)


# --- questions and answers


def question_rows(cases: Sequence[tuple[list[str], str]]) -> Iterator[Row]:
    squad, hotpot = official.squad_exact_match, official.hotpot_f1
    one = [(golds[0], answer) for golds, answer in cases]
    yield row(
        "exact, normalise: squad",
        "SQuAD, HotpotQA, 2Wiki: EM",
        ((rules.exact_squad(golds, answer), squad(golds, answer)) for golds, answer in cases),
    )
    yield row(
        "exact",
        "SQuAD: EM",
        ((rules.exact(golds, answer), squad(golds, answer)) for golds, answer in cases),
        "numbers as numbers; what is nothing but articles and signs as it stands",
    )
    yield row(
        "token_f1",
        "SQuAD 2.0: F1",
        ((rules.token_f1(golds, answer), official.squad_f1(golds, answer)) for golds, answer in cases),
    )
    yield row(
        "token_f1",
        "SQuAD 1.1: F1",
        (
            (rules.token_f1(golds, answer), official.squad_f1(golds, answer, version=1))
            for golds, answer in cases
        ),
        "nothing left on either side: 1, there 0",
    )
    yield row(
        "token_f1, yes_no: true",
        "HotpotQA, 2Wiki: F1",
        ((rules.token_f1(gold, answer, yes_no=True), hotpot(gold, answer)) for gold, answer in one),
    )


def retrieval_row(n: int, seed: int) -> Row:
    rng = random.Random(seed)
    lists = [
        (
            [rng.randrange(12) for _ in range(rng.randint(1, 5))],
            [rng.randrange(12) for _ in range(rng.randint(0, 6))],
        )
        for _ in range(n)
    ]
    pairs = ((rules.set_f1(gold, named), official.hotpot_supporting_f1(gold, named)) for gold, named in lists)
    return row("set_f1", "HotpotQA, 2Wiki: sp_f1", pairs)


# --- texts


def rouge_rows(cases: Sequence[tuple[Any, Any]]) -> Iterator[Row]:
    from rouge_score.rouge_scorer import RougeScorer

    for stemmer in (False, True):
        scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
        pairs = [
            (rouge_l(gold, answer, stemmer), scorer.score(_joined(gold), _joined(answer))["rougeL"].fmeasure)
            for gold, answer in cases
        ]
        yield row(f"rouge_l, stemmer: {str(stemmer).lower()}", "rouge-score 0.1.2: rougeL, F", pairs)
    by_hand = (
        (rouge_l(gold, answer), official.rouge_l_by_hand(_joined(gold), _joined(answer)))
        for gold, answer in cases
    )
    yield row("rouge_l", "ROUGE-L, written again", by_hand)


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(text)


# --- plans


ITEMS = (
    ("node_f1", "n-F1", official.node_items, node_f1),
    ("parameter_f1", "v-F1", official.value_items, parameter_f1),
    (
        "parameter_f1, values: false",
        "t-F1",
        official.name_items,
        lambda gold, plan: parameter_f1(gold, plan, False),
    ),
)


def plan_rows(cases: Sequence[tuple[official.Plan, official.Plan]], made_up: bool) -> Iterator[Row]:
    for metric, name, items, ours in ITEMS:
        held = [(gold, plan) for gold, plan in cases if items(gold) or items(plan)]
        pairs = [(ours(gold, plan), _one_problem(items, gold, plan)) for gold, plan in held]
        yield row(metric, f"TaskBench: {name}, of one problem", pairs)
        mean = statistics.fmean(ours(gold, plan) for gold, plan in held)
        known = official.TOOLS if name == "n-F1" and made_up else None
        pooled = official.pooled_f1(
            [items(gold) for gold, _ in held], [items(plan) for _, plan in held], known
        )
        yield Row(
            f"{metric}, mean of {len(held)}", f"TaskBench: {name}, of all problems' items together", 1,
            abs(mean - pooled), int(abs(mean - pooled) > EXACT),
            f"mean {mean:.4f}, theirs {pooled:.4f}: long plans weigh more there" + (", made-up tools nothing" if known else ""),
        )  # fmt: skip


def _one_problem(
    items: Callable[[official.Plan], list[str]], gold: official.Plan, plan: official.Plan
) -> float:
    return official.pooled_f1([items(gold)], [items(plan)])


# --- programs


def program_rows() -> Iterator[Row]:
    programs = official.PROGRAMS
    limits = Limits(timeout_s=3.0)
    ran = _values(ExecutableVerifier(limits), programs.values())
    complete = _values(Completeness(), programs.values())
    with tempfile.TemporaryDirectory() as base:
        theirs = [
            official.chatdev_executability(files, Path(base) / str(i))
            for i, files in enumerate(programs.values())
            if not (Path(base) / str(i)).mkdir()
        ]
    yield _program_row("executable", "ChatDev: exist_bugs", ran, theirs)
    counted = [official.chatdev_completeness(files) for files in programs.values()]
    yield _program_row("completeness", "ChatDev: get_completeness", complete, counted)


def _program_row(metric: str, definition: str, ours: list[float], theirs: list[float]) -> Row:
    names = [name for name, a, b in zip(official.PROGRAMS, ours, theirs, strict=True) if a != b]
    return row(metric, definition, zip(ours, theirs, strict=True), f"on purpose: {', '.join(names)}")


def _values(verifier: Verifier, programs: Iterable[dict[str, str]]) -> list[float]:
    candidates = [Candidate("", "", files) for files in programs]
    scores = asyncio.run(verifier.score(Problem("p", {}), candidates))
    return [-1.0 if score.value is None else score.value for score in scores]


# --- real data


def real_questions(seed: int, n: int = 300) -> list[tuple[list[str], str]]:
    """The gold answers of real problems, with an answer that is one of them, changed, or that of another problem."""
    rng = random.Random(seed)
    golds = [
        [str(answer) for answer in problem["answers"]]
        for name in ("hotpotqa", "twowiki", "webqsp", "cwq")
        for problem in _rows(name, n)
        if problem["answers"]
    ]
    return [
        (answers, official.changed(rng.choice(rng.choice((answers, rng.choice(golds)))), rng))
        for answers in golds
    ]


def real_steps(seed: int, n: int = 300) -> list[tuple[Any, Any]]:
    rng = random.Random(seed)
    steps = [row["task_steps"] for row in _rows("ultratool", n)]
    return [
        (one, [official.changed(step, rng) for step in one if rng.random() < 0.9] or rng.choice(steps))
        for one in steps
    ]


def real_plans(seed: int, n: int = 300) -> list[tuple[official.Plan, official.Plan]]:
    """Real plans have no arguments here: the words of a step stand for them, one of which is lost or changed."""
    rng = random.Random(seed)
    plans = [
        [
            {"task": node["task"], "arguments": _arguments(step)}
            for node, step in zip(row["task_nodes"], row["task_steps"], strict=False)
        ]
        for row in _rows("ultratool", n)
    ]
    return [(plan, [node for node in plan if rng.random() < 0.8] + rng.choice(plans)[:1]) for plan in plans]


def _arguments(step: str) -> list[dict[str, Any]]:
    return [{"name": f"word {i}", "value": word} for i, word in enumerate(step.split()[-3:])]


def _rows(name: str, n: int) -> list[dict[str, Any]]:
    path = DATA / name / "test.jsonl.gz"
    if not path.is_file():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(n), strict=False)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sections = {
        "generated": list(_generated(options.cases, options.seed)),
        "real": list(_real(options.seed)),
        "programs": list(program_rows()),
    }
    for title, rows in sections.items():
        if rows:
            _show(title, rows)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(
        json.dumps({name: [asdict(one) for one in rows] for name, rows in sections.items()}, indent=2)
    )
    return int(not all(one.holds for rows in sections.values() for one in rows))


def _generated(n: int, seed: int) -> Iterator[Row]:
    questions = official.question_cases(n, seed)
    yield from question_rows(questions)
    yield retrieval_row(n, seed)
    yield from rouge_rows([(golds, answer) for golds, answer in questions])
    yield from plan_rows(official.plan_cases(n, seed), made_up=True)


def _real(seed: int) -> Iterator[Row]:
    if questions := real_questions(seed):
        yield from question_rows(questions)
    if steps := real_steps(seed):
        yield from rouge_rows(steps)
        yield from plan_rows(real_plans(seed), made_up=False)


def _show(title: str, rows: Sequence[Row]) -> None:
    table = Table(
        "metric",
        "official definition",
        "cases",
        "largest difference",
        "cases that differ",
        "why",
        title=title,
    )
    for one in rows:
        table.add_row(
            one.metric,
            one.definition,
            str(one.cases),
            f"{one.largest:.2g}",
            str(one.n_different),
            one.expected,
        )
    Console(width=180).print(table)


if __name__ == "__main__":
    sys.exit(main())
