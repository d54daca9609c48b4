from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.completeness import Completeness, placeholders


async def one(answer: Any) -> Score:
    (score,) = await Completeness().score(Problem("p", {}), [Candidate("", "", answer)])
    return score


class TestCompletenessContract(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return Completeness()

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        answers = ("print(1)", "def f():\n    pass\n", {"main.py": "print(1)"}, "print(1)", None)
        return [Candidate("", "", answer) for answer in answers]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n    pass\n", [(2, "pass")]),
        ("async def f():\n    ...\n", [(2, "...")]),
        ('def f():\n    """Says what."""\n    pass\n', [(3, "pass")]),
        ("def f():\n    raise NotImplementedError('later')\n", [(2, "raise NotImplementedError")]),
        (
            "class A:\n    def f(self):\n        raise NotImplementedError\n",
            [(3, "raise NotImplementedError")],
        ),
        ("if x:\n    pass\nelse:\n    y = 1\n", [(2, "pass")]),
        ("if x:\n    y = 1\nelse:\n    pass\n", [(4, "pass")]),
        ("for x in y:\n    ...\n", [(2, "...")]),
        ("x = 1  # TODO: more\n# FIXME\n", [(1, "TODO"), (2, "FIXME")]),
    ],
)
def test_placeholders_are_found_where_they_stand(source: str, found: list[tuple[int, str]]) -> None:
    assert placeholders(source) == found


@pytest.mark.parametrize(
    "source",
    [
        "class Lost(Exception):\n    pass\n",
        "try:\n    f()\nexcept OSError:\n    pass\n",
        "match x:\n    case 1:\n        pass\n    case _:\n        f()\n",
        "def f():\n    pass\n    return 1\n",
        'def f():\n    """Nothing but words."""\n',
        "from abc import abstractmethod\nclass A:\n    @abstractmethod\n    def f(self): ...\n",
        "import abc\nclass A:\n    @abc.abstractmethod\n    def f(self):\n        raise NotImplementedError\n",
        "from typing import Protocol\nclass A(Protocol):\n    def f(self) -> int: ...\n",
        "from typing import overload\n@overload\ndef f(x: int) -> int: ...\n",
        "todo_list = ['TODO']\nprint('pass', '# FIXME')\n# my todos\n",
        "x[...] = 1\npassword = 'a'\n",
        "raise NotImplementedError\n",
        "",
    ],
)
def test_what_is_meant_to_be_empty_is_no_placeholder(source: str) -> None:
    assert placeholders(source) == []


def test_code_that_cannot_be_read_is_judged_by_its_lines() -> None:
    cut = "def f():\n    pass\n\ndef g():\n    x = 'TODO'\n    y = (1,  # TODO: end\n\ndef h(:\n    raise NotImplementedError('x')\n"
    assert placeholders(cut) == [(2, "pass"), (6, "TODO"), (9, "raise NotImplementedError")]


@pytest.mark.parametrize(
    "hostile", ["(" * 100_000, "-" * 100_000 + "1", "x = " + "[" * 90 + "]" * 90, "a\0b", "#" * 1_000_000]
)
def test_hostile_code_is_read_without_harm(hostile: str) -> None:
    assert placeholders(hostile) == []


async def test_placeholders_are_told_for_a_model_that_mends_them() -> None:
    score = await one({"main.py": "import b\n", "b.py": "def f():\n    pass\n", "notes.md": "TODO"})
    assert score.value == 0
    assert score.feedback == "Placeholders are left:\nb.py, line 2: pass"


async def test_a_whole_program_is_complete() -> None:
    assert await one({"main.py": "import b\n", "b.py": "def f():\n    return 1\n"}) == Score(1.0)


async def test_an_answer_without_code_is_wrong() -> None:
    for answer in (None, "", 5, {"notes.md": "x"}, {"main.py": " \n"}):
        score = await one(answer)
        assert (score.value, score.feedback) == (0, "There is no code in the answer.")
