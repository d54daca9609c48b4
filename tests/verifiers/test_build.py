from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import TrustError
from agenttts.pipeline.base import Problem
from agenttts.task.schema import NEEDS_GOLD, TaskFile, VerifierBlock
from agenttts.task.task import Task
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.build import build
from agenttts.verifiers.code import CodeVerifier


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "own.py").write_text("def check(fields, answer, text):\n    return 0.25\n")
    stage = {"prompt": {"user": "x"}, "models": ["m"]}
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"s": stage},
            "score": {"verifier": "exact", "gold": "g"},
        }
    )
    return Task(file=file, folder=tmp_path, cards={}, search=(), trusted=True)


@pytest.mark.parametrize(
    ("block", "gold", "answer", "value"),
    [
        ({"kind": "exact"}, "The cat", "cat", 1.0),
        ({"kind": "exact", "normalise": False}, "The cat", "cat", 0.0),
        ({"kind": "set_f1"}, ["a", "b"], ["a"], 2 / 3),
        ({"kind": "token_f1"}, "x y", "x", 2 / 3),
        ({"kind": "numeric", "tolerance": 0.1}, 100, "109", 1.0),
        ({"kind": "numeric"}, 100, "109", 0.0),
        ({"kind": "choice"}, "B", "b", 1.0),
        ({"kind": "math"}, "1/2", "0.5", 1.0),
        ({"kind": "exact"}, "4.2", "42", 0.0),
        ({"kind": "exact", "normalise": "squad"}, "4.2", "42", 1.0),
        ({"kind": "token_f1"}, "yes", "yes it is", 0.5),
        ({"kind": "token_f1", "yes_no": True}, "yes", "yes it is", 0.0),
        ({"kind": "rouge_l"}, ["Call Ann", "Book"], "call Ann", 0.8),
        ({"kind": "rouge_l"}, "calls", "call", 0.0),
        ({"kind": "rouge_l", "stemmer": True}, "calls", "call", 1.0),
        ({"kind": "node_f1"}, [{"task": "a"}, {"task": "b"}], ["a"], 2 / 3),
        (
            {"kind": "parameter_f1"},
            [{"task": "a", "arguments": {"x": 1}}],
            [{"task": "a", "arguments": {"x": 2}}],
            0.0,
        ),
        (
            {"kind": "parameter_f1", "values": False},
            [{"task": "a", "arguments": {"x": 1}}],
            [{"task": "a", "arguments": {"x": 2}}],
            1.0,
        ),
        ({"kind": "executable", "timeout_s": 5}, None, {"main.py": "import b", "b.py": ""}, 1.0),
        ({"kind": "executable", "memory_mb": 256}, None, "x = bytes(10**9)", 0.0),
        ({"kind": "completeness"}, None, "def f():\n    pass", 0.0),
        ({"kind": "regex", "pattern": "[a-z]+"}, None, "abc", 1.0),
        ({"kind": "json_schema", "json_schema": {"type": "array"}}, None, [1], 1.0),
        ({"kind": "function", "function": "own.py:check"}, None, "x", 0.25),
    ],
)
async def test_every_kind_is_built_with_its_settings(
    task: Task, block: dict[str, Any], gold: Any, answer: Any, value: float
) -> None:
    verifier = build(
        VerifierBlock.model_validate(block), task, "g.old" if block["kind"] in NEEDS_GOLD else None
    )
    assert isinstance(verifier, Verifier)
    (score,) = await verifier.score(Problem("p", {"g": {"old": gold}}), [Candidate("", "", answer)])
    assert score.value == pytest.approx(value)


@pytest.mark.parametrize("kind", sorted(NEEDS_GOLD))
def test_kinds_that_compare_need_gold(task: Task, kind: str) -> None:
    with pytest.raises(ValueError, match="gold"):
        build(VerifierBlock(kind=kind), task)  # type: ignore[arg-type]  # parametrised


def test_functions_need_trust(task: Task) -> None:
    untrusted = Task(file=task.file, folder=task.folder, cards={}, search=(), trusted=False)
    with pytest.raises(TrustError):
        build(VerifierBlock(kind="function", function="own.py:check"), untrusted)


async def test_code_is_built_with_its_settings(task: Task) -> None:
    block = VerifierBlock(
        kind="code", tests="t", partial=True, timeout_s=3, memory_mb=300, isolation="process"
    )
    verifier = build(block, task)
    assert isinstance(verifier, CodeVerifier)
    assert (verifier.limits.timeout_s, verifier.limits.memory_mb) == (3, 300)
    assert verifier.isolation == "process"
    problem = Problem("p", {"t": ["assert f() == 1", "assert f() == 2"]})
    (score,) = await verifier.score(problem, [Candidate("", "", "def f():\n    return 1\n")])
    assert score.value == 0.5
