from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import SandboxError
from agenttts.pipeline.base import Problem
from agenttts.sandbox import Isolation, Limits, run_python
from agenttts.testing.hostile import HOSTILE, hosting
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.code import CodeVerifier

QUICK = Limits(timeout_s=5.0, cpu_s=3.0, output_bytes=100_000)

# In the form of MBPP.
MBPP = {
    "text": "Write a function that returns the distinct words of a text, sorted.",
    "test_setup_code": "",
    "tests": [
        "assert distinct_words('b a b') == ['a', 'b']",
        "assert distinct_words('') == []",
        "assert distinct_words('c') == ['c']",
    ],
}
RIGHT = "def distinct_words(text):\n    return sorted(set(text.split()))\n"
WRONG = "def distinct_words(text):\n    return sorted(text.split())\n"

# In the form of HumanEval.
HUMANEVAL = {
    "prompt": (
        "from typing import List\n\n\ndef half(x: float) -> float:\n    return x / 2\n\n\n"
        'def halves(values: List[float]) -> List[float]:\n    """ Halve every value.\n    >>> halves([2, 4])\n'
        '    [1.0, 2.0]\n    """\n'
    ),
    "entry_point": "halves",
    "tests": (
        "METADATA = {}\n\n\ndef check(candidate):\n    assert candidate([2, 4]) == [1.0, 2.0]\n"
        "    assert candidate([]) == []\n    assert half(candidate([8])[0]) == 2\n"
    ),
}

# In the form of LiveCodeBench: the sum of the numbers of each line.
STDIN = {"tests": [{"input": "1 2\n3 4\n", "output": "3\n7\n"}, {"input": "5\n", "output": "5\n"}]}
SUMS = "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())), ' ')\n"


async def scores(fields: dict[str, Any], *answers: Any, **settings: Any) -> list[Score]:
    verifier = CodeVerifier("tests", **{"limits": QUICK, **settings})
    return await verifier.score(Problem("p1", fields), [Candidate("", "", answer) for answer in answers])


async def values(fields: dict[str, Any], *answers: Any, **settings: Any) -> list[float | None]:
    return [score.value for score in await scores(fields, *answers, **settings)]


def asserting(*tests: str, **beside: Any) -> dict[str, Any]:
    return {"tests": list(tests), **beside}


class TestCodeVerifierContract(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return CodeVerifier("tests", limits=QUICK)

    @pytest.fixture
    def problem(self) -> Problem:
        return Problem("p", MBPP)

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        return [Candidate("", answer or "", answer) for answer in (RIGHT, WRONG, "x = (", RIGHT, None)]


# --- forms ----------------------------------------------------------------------------------------------------------


async def test_assertions_tell_right_from_wrong() -> None:
    assert await values(MBPP, RIGHT, WRONG, "def (", "raise SystemExit(0)", "") == [1, 0, 0, 0, 0]


async def test_a_candidate_without_code_is_wrong() -> None:
    for score in await scores(MBPP, None, "  \n", 3):
        assert (score.value, score.unscored_because) == (0.0, "")
        assert score.feedback


async def test_setup_beside_the_tests_runs_before_them() -> None:
    fields = asserting(
        "assert total(root) == 6",
        test_imports=["import math"],
        test_setup_code="root = Node(1)\nroot.next = Node(2)\nroot.next.next = Node(3)\nassert math.pi > 3",
    )
    program = (
        "class Node:\n    def __init__(self, value):\n        self.value, self.next = value, None\n\n"
        "def total(node):\n    return node.value + total(node.next) if node else 0\n"
    )
    assert await values(fields, program, program.replace("node.value +", "1 +")) == [1, 0]


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("    return [half(value) for value in values]\n", 1.0),
        ("return [half(value) for value in values]", 1.0),
        ("result = []\nfor value in values:\n    result.append(half(value))\nreturn result", 1.0),
        ("def halves(values: List[float]) -> List[float]:\n    return [half(v) for v in values]\n", 1.0),
        ("from math import pi\ndef halves(values):\n    return [v / 2 for v in values]\n", 1.0),
        ("halves = lambda values: [v / 2 for v in values]\n", 1.0),
        ("\nresult = []\n    for value in values:\n        result += [half(value)]\n    return result", 1.0),
        ("    return values\n", 0.0),
        ("    return [half(value) for value in values][:1]\n", 0.0),
        ("return values", 0.0),
    ],
)
async def test_humaneval_completes_the_prompt_or_takes_the_whole_function(
    completion: str, value: float
) -> None:
    assert await values(HUMANEVAL, completion) == [value]


async def test_an_entry_point_may_be_a_method() -> None:
    fields = {**HUMANEVAL, "prompt": "", "entry_point": "Solution().halves"}
    fields["tests"] = "def check(candidate):\n    assert candidate(values=[2]) == [1]\n"
    program = (
        "class Solution:\n    def halves(self, values):\n        return [value // 2 for value in values]\n"
    )
    assert await values(fields, program) == [1]


async def test_printed_lines_are_compared_without_white_space_at_their_ends() -> None:
    assert await values(STDIN, SUMS, "print(3)", "print(3)\nprint(7)\nraise ValueError") == [1, 0, 0]


@pytest.mark.parametrize(
    "tests",
    [
        {"inputs": ["1 2\n3 4\n", "5\n"], "outputs": ["3\n7\n", "5"]},
        {"inputs": [["1 2", "3 4"], ["5"]], "outputs": [["3", "7"], ["5"]]},
        json.dumps(STDIN["tests"]),
        [{"input": "1 2\n", "output": "3", "testtype": "stdin"}],
    ],
)
async def test_the_forms_of_apps_and_livecodebench_are_read(tests: Any) -> None:
    assert await values({"tests": tests}, SUMS, "print(3)\nprint(8)") == [1, 0]


# In the form of LiveCodeBench's functional tests: an argument a line, each as JSON.
CALLS = {
    "tests": {
        "fn_name": "pairSum",
        "inputs": ["[1, 2, 3]\n5", "[]\n1", "[4, 4]\n8"],
        "outputs": ["[1, 2]", "[]", "[0, 1]"],
    }
}
PAIR = """class Solution:
    def pairSum(self, numbers: List[int], wanted: int) -> List[int]:
        seen = defaultdict(list)
        for place, number in enumerate(numbers):
            if seen[wanted - number]:
                return (seen[wanted - number][0], place)
            seen[number].append(place)
        return ()
"""


@pytest.mark.parametrize("settings", [{}, {"suite": "stdin"}])
async def test_calls_of_a_method_are_tested_with_json_arguments(settings: dict[str, Any]) -> None:
    """`List` and `defaultdict` need no import, and a tuple counts as a list: so it is on the site and in LiveCodeBench."""
    backwards = PAIR.replace("[0], place)", "[0], place)[::-1]")
    assert await values(CALLS, PAIR, backwards, "", **settings) == [1, 0, 0]
    assert await values(CALLS, backwards, partial=True, **settings) == [pytest.approx(1 / 3)]
    assert await values({"tests": json.dumps(CALLS["tests"])}, PAIR, **settings) == [1]


async def test_feedback_on_a_call_shows_input_result_and_what_was_expected() -> None:
    (score,) = await scores(CALLS, PAIR.replace("return ()", "return None"))
    assert "Test 2 of 3 failed." in score.feedback
    assert r"input: '[]\n1'" in score.feedback
    assert "got: None\nexpected: []" in score.feedback
    (score,) = await scores(CALLS, "class Solution: pass")
    assert "pairSum" in score.feedback


async def test_a_long_argument_of_a_call_fails_by_what_it_gives_alone() -> None:
    numbers = json.dumps(list(range(200_000)))
    tests = {"fn_name": "count", "inputs": [numbers], "outputs": ["200000"]}
    right, wrong = (f"class Solution:\n    def count(self, a): return len(a) + {n}" for n in (0, 1))
    one, other = await scores({"tests": tests}, right, wrong)
    assert (one.value, other.value) == (1, 0)
    assert "got: 200001\nexpected: 200000" in other.feedback


@pytest.mark.parametrize(
    "program",
    [
        "class Solution:\n    def pairSum(self, *given):\n        return type('X', (), {'__eq__': lambda a, b: True})()",
        "import json\njson.loads = lambda text: 1\nclass Solution:\n    def pairSum(self, *given): return 1",
        "told = wanted = lambda value: 0\nclass Solution:\n    def pairSum(self, *given): return 0",
    ],
)
async def test_no_program_passes_calls_by_trickery(program: str) -> None:
    assert await values(CALLS, program) == [0]


async def test_partial_scores_the_share_of_tests() -> None:
    assert await values(MBPP, RIGHT, WRONG, "", partial=True) == [1, pytest.approx(2 / 3), 0]
    (score,) = await scores(STDIN, "print(5)", partial=True)
    assert score.value == 0.5
    late = "def distinct_words(text):\n    while text == 'c': pass\n    return sorted(set(text.split()))"
    limits = Limits(timeout_s=2.0)
    assert await values(MBPP, late, partial=True, limits=limits) == [pytest.approx(2 / 3)]


# --- feedback -------------------------------------------------------------------------------------------------------


async def test_feedback_tells_the_first_failing_test_and_what_came_out() -> None:
    (score,) = await scores(MBPP, WRONG)
    assert score.feedback == (
        "Test 1 of 3 failed.\n"
        "test: assert distinct_words('b a b') == ['a', 'b']\n"
        "line: assert distinct_words('b a b') == ['a', 'b']\n"
        "got: ['a', 'b', 'b']\n"
        "expected: ['a', 'b']"
    )


async def test_feedback_shows_where_the_program_failed() -> None:
    (score,) = await scores(MBPP, "def distinct_words(text):\n    return text.wordz()\n")
    assert "program.py" in score.feedback
    assert "return text.wordz()" in score.feedback
    assert "AttributeError: 'str' object has no attribute 'wordz'" in score.feedback


async def test_feedback_of_check_shows_the_failing_line() -> None:
    (score,) = await scores(HUMANEVAL, "    return [half(value) for value in values] or [0]\n")
    assert "line: assert candidate([]) == []\ngot: [0]\nexpected: []" in score.feedback


async def test_feedback_of_cases_shows_input_expected_and_got() -> None:
    (score,) = await scores(STDIN, "print(4)")
    assert score.feedback == "Test 1 of 2 failed.\ninput: '1 2\\n3 4\\n'\nexpected: '3\\n7\\n'\ngot: '4\\n'"


async def test_feedback_tells_a_program_that_cannot_be_loaded_and_one_that_takes_too_long() -> None:
    loading, slow = await scores(MBPP, "def (", "while True: pass", limits=Limits(timeout_s=1.0))
    assert "SyntaxError" in loading.feedback
    assert "it took too long" in slow.feedback


async def test_feedback_is_capped() -> None:
    (score,) = await scores(asserting("assert f() == 1"), "def f():\n    return 'x' * 100000\n")
    assert score.value == 0
    assert len(score.feedback) <= 2000


async def test_right_programs_get_no_feedback() -> None:
    assert [score.feedback for score in await scores(MBPP, RIGHT)] == [""]


# --- what programs return, and how tests use it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(x):\n    x.sort()", "a = [2, 1]\nf(a)\nassert a == [1, 2]"),
        ("def f(x):\n    x['k'] = 1", "a = {}\nf(a)\nassert a == {'k': 1}"),
        ("def f():\n    yield from (1, 2)", "assert list(f()) == [1, 2]"),
        ("def f():\n    raise ValueError('no')", "try:\n    f()\n    assert False\nexcept ValueError as e:\n    assert str(e) == 'no'"),
        ("def f(key, xs):\n    return sorted(xs, key=key)", "assert f(lambda x: -x, [1, 2]) == [2, 1]"),
        ("def f(xs):\n    return sum(xs)", "assert f(x for x in (1, 2)) == 3"),
        ("def f(n):\n    return lambda x: x + n", "assert f(2)(3) == 5"),
        ("from collections import Counter\ndef f(s):\n    return Counter(s)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f():\n    return P(1, 2)", "assert f() == (1, 2)"),
        ("from fractions import Fraction\ndef f():\n    return Fraction(1, 2)", "assert f() == 0.5"),
        ("from enum import IntEnum\nclass C(IntEnum):\n    A = 3\ndef f():\n    return C.A", "assert f() == 3"),
        ("import numpy as np\ndef f():\n    return np.float64(2.5)", "assert f() == 2.5"),
        ("import math\ndef f():\n    return 0.1 + 0.2", "assert math.isclose(f(), 0.3)"),
        ("from math import isclose\ndef f():\n    return 0.1 + 0.2", "assert isclose(f(), 0.3)"),
        ("class P:\n    def __init__(s, x):\n        s.x = x\n    def __eq__(s, o):\n        return s.x == o.x\ndef f():\n    return P(1)", "assert f() == P(1) and f().x == 1 and f() != P(2)"),
        ("class S:\n    def __init__(s):\n        s.a = []\n    def push(s, x):\n        s.a.append(x)\n    def __len__(s):\n        return len(s.a)", "s = S()\ns.push(4)\nassert len(s) == 1 and s.a == [4] and isinstance(s, S)"),
        ("import re\ndef f():\n    return re.match('a', 'a')", "assert f()"),
        ("def f():\n    return {1: {2, 3}, 'k': (None, True, b'x', 1j)}", "assert f() == {1: {2, 3}, 'k': (None, True, b'x', 1j)}"),
        ("def f():\n    return True", "assert f() is True"),
    ],
)  # fmt: skip
async def test_tests_see_what_they_would_see_in_one_namespace(program: str, test: str) -> None:
    (score,) = await scores(asserting(test), program)
    assert score.value == 1, score.feedback


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f():\n    return [1, 2]", "assert f() == [1, 3]"),
        ("def f():\n    pass", "try:\n    f()\n    assert False\nexcept ValueError:\n    pass"),
        ("def f():\n    raise KeyError", "try:\n    f()\nexcept ValueError:\n    pass"),
        ("class P:\n    def __init__(s, x):\n        s.x = x\n    def __eq__(s, o):\n        return s.x == o.x\ndef f():\n    return P(1)", "assert f() == P(2)"),
        ("def g():\n    return 1", "assert f() == 1"),
    ],
)  # fmt: skip
async def test_tests_fail_as_they_would_in_one_namespace(program: str, test: str) -> None:
    assert await values(asserting(test), program) == [0]


# --- tricks ---------------------------------------------------------------------------------------------------------

BODY = "def f(x):\n    return 0\n"
LIAR = (
    "class Liar:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    def __lt__(self, other): return True\n    __gt__ = __le__ = __ge__ = __lt__\n"
    "    def __contains__(self, item): return True\n    def __sub__(self, other): return 0\n"
    "    __rsub__ = __add__ = __sub__\n    def __hash__(self): return 0\n"
)
TRICKS = {
    "exits early": "import os\nos._exit(0)\n",
    "exits in the function": "import os\ndef f(x):\n    os._exit(0)\n",
    "raises SystemExit": "import sys\nsys.exit(0)\n",
    "raises SystemExit in the function": "def f(x):\n    raise SystemExit(0)\n",
    "prints a marker": "print('ALL TESTS PASSED\\n' * 3, flush=True)\nimport os\nos._exit(0)\n",
    "prints verdicts": 'print(\'{"test": 0, "failure": ""}\', flush=True)\n' + BODY,
    "closes its streams": "import os\nfor i in range(64):\n    try: os.close(i)\n    except OSError: pass\n" + BODY,
    "returns what equals everything": LIAR + "def f(x):\n    return Liar()\n",
    "returns mock.ANY": "from unittest import mock\ndef f(x):\n    return mock.ANY\n",
    "is mock.ANY by name": "from unittest.mock import ANY as f\n",
    "is a mock by name": "from unittest.mock import MagicMock as f\n",
    "returns a number that equals everything": "class N(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(x):\n    return N(0)\n",
    "replaces builtins": "import builtins\nbuiltins.AssertionError = Exception\nbuiltins.all = builtins.any = lambda *_: True\n" + BODY,
    "replaces sys.exit and os._exit": "import os, sys\nsys.exit = os._exit = lambda *_: None\n" + BODY,
    "patches operators": "import operator, math\noperator.eq = math.isclose = lambda *a, **k: True\n" + BODY,
    "defines the names of tests": "def isclose(*a, **k): return True\ndef check(*a): pass\nabs = lambda x: 0\n__compared__ = lambda *a: True\n" + BODY,
    "looks at the frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals['tests'] = []\n    frame = frame.f_back\n" + BODY,
    "reads the memory of its parent": "import os\ntry:\n    open(f'/proc/{os.getppid()}/mem', 'rb')\nexcept OSError:\n    pass\nelse:\n    os._exit(0)\n" + BODY,
    "kills its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + BODY,
    "stops its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n" + BODY,
    "writes to the pipes": "import os\nfor i in range(3, 64):\n    try: os.write(i, b'\\0' * 64)\n    except OSError: pass\n" + BODY,
    "writes into the parent's output": "import os\nfor i in range(3):\n    try: open(f'/proc/{os.getppid()}/fd/{i}', 'w').write('x')\n    except OSError: pass\n" + BODY,
    "patches pickle": "import io, pickle\nclass Evil:\n    def __reduce__(self): return (eval, ('__import__(\"os\")._exit(0)',))\ndef f(x):\n    return Evil()\n",
}  # fmt: skip


@pytest.mark.parametrize("isolation", ["auto", "process"])
@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
async def test_no_trick_passes_a_test(trick: str, isolation: Isolation) -> None:
    limits = Limits(timeout_s=2.0, cpu_s=2.0)
    for test in (
        "assert f(3) == 4",
        "assert f(3) != 0 and f(3) > 3",
        "from math import isclose\nassert isclose(f(3), 4)",
        "assert abs(f(3) - 4) < 1e-6",
        "assert all(f(x) == x + 1 for x in (3, 4))",
        "assert 4 in [f(3)]",
    ):
        (score,) = await scores(asserting(test), trick, limits=limits, isolation=isolation)
        assert (score.value, score.unscored_because) == (0.0, "")
        assert score.feedback


async def test_a_program_that_ends_is_no_expected_exception() -> None:
    for end in ("import os\n    os._exit(0)", "raise SystemExit"):
        for kind in ("Exception", "BaseException"):
            test = f"try:\n    f()\nexcept {kind}:\n    pass\nelse:\n    assert False"
            if end.startswith("raise") and kind == "BaseException":
                continue  # the test asks for no more
            assert await values(asserting(test), f"def f():\n    {end}\n") == [0]


async def test_a_message_may_construct_nothing_but_values() -> None:
    """The program writes to the judge what pickle would run."""
    program = """
import os, pickle, struct
class Evil:
    def __reduce__(self):
        return print, ("ran",)
data = pickle.dumps(("value", Evil()))
def f(x):
    for fd in range(3, 64):
        try:
            os.write(fd, struct.pack("!Q", len(data)) + data)
        except OSError:
            pass
"""
    (score,) = await scores(asserting("assert f(1) is None"), program)
    assert score.value == 0
    assert "may not be sent" in score.feedback


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_programs_pass_no_tests(name: str, tmp_path: Path) -> None:
    with hosting(tmp_path) as host:
        limits = Limits(timeout_s=2.0, cpu_s=2.0, output_bytes=100_000)
        program = host.program(name)
        assert await values(MBPP, program, limits=limits) == [0]
        assert await values(STDIN, program, limits=limits) == [0]
        assert host.n_connections == 0


# --- data and machine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tests", "settings", "cause"),
    [
        (None, {}, "expected a list of assertions"),
        ([], {}, "an empty list"),
        (7, {}, "got int"),
        (["assert ("], {}, "test 1 is not valid Python"),
        (["# nothing"], {}, "test 1 tests nothing"),
        ([1], {}, "expected assertions as a list of texts"),
        ([{"input": "1"}], {}, "case 1 should have `input` and `output`"),
        ([{"input": "1", "output": None}], {}, "should be text"),
        ([{"input": "1", "output": "2", "testtype": "functional"}], {}, "'functional'"),
        ({"inputs": ["1"], "outputs": []}, {}, "lists of the same length"),
        ({"inputs": ["1"], "outputs": ["one"], "fn_name": "f"}, {}, "should have a JSON value a line"),
        ({"inputs": [[1]], "outputs": [[1]], "fn_name": "f"}, {}, "should have a JSON value a line"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_name": "f(); g"}, {}, "`fn_name` should name a method"),
        ("def check(candidate): pass", {}, "there is no field `entry_point`"),
        ("x = 1", {"suite": "humaneval"}, "it defines no `check(candidate)`"),
        (["assert True"], {"suite": "humaneval"}, "expected a text with `def check(candidate)`"),
        ("assert True", {"suite": "stdin"}, "expected a list of {input, output}"),
    ],
)
async def test_tests_that_cannot_be_read_are_told_and_leave_it_unscored(
    tests: Any, settings: dict[str, Any], cause: str
) -> None:
    for score in await scores({"tests": tests}, RIGHT, None, **settings):
        assert score.value is None
        assert score.unscored_because.startswith("problem p1: field `tests`: ")
        assert cause in score.unscored_because


async def test_a_missing_field_is_told() -> None:
    (score,) = await scores({"other": 1}, RIGHT)
    assert score.unscored_because == "problem p1: there is no field `tests` with its tests"


async def test_a_machine_that_cannot_run_programs_leaves_them_unscored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from agenttts.sandbox import run

    run._why_no_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        for fields in (MBPP, STDIN):
            (score,) = await scores(fields, RIGHT, isolation="bubblewrap")
            assert score.value is None
            assert "bwrap" in score.unscored_because
        with pytest.raises(SandboxError):
            run_python("", isolation="bubblewrap")
    finally:
        run._why_no_bubblewrap.cache_clear()


async def test_tests_may_lie_deeper() -> None:
    verifier = CodeVerifier("data.tests", limits=QUICK)
    fields = {"data": asserting("assert f(base) == 4", test_setup_code="base = 3")}
    (score,) = await verifier.score(Problem("p", fields), [Candidate("", "", "def f(x):\n    return x + 1")])
    assert score.value == 1


# --- real data -------------------------------------------------------------------------------------------------------

DATA = Path(os.environ.get("AGENTTTS_TASK_DATA", "/nonexistent"))


@pytest.mark.skipif(not DATA.is_dir(), reason="AGENTTTS_TASK_DATA names no folder with humaneval and mbpp")
@pytest.mark.parametrize(("name", "tests"), [("humaneval", "test"), ("mbpp", "test_list")])
async def test_solutions_of_the_real_benchmarks_pass(name: str, tests: str) -> None:
    with gzip.open(DATA / name / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(20), strict=False)]
    verifier = CodeVerifier(tests)
    for row in rows:
        solution = Candidate("", "", row["canonical_solution"])
        nothing = Candidate("", "", "    return None\n" if name == "humaneval" else "x = 1\n")
        scored = await verifier.score(Problem(row["id"], row), [solution, nothing])
        assert [score.value for score in scored] == [1, 0], (row["id"], scored[0].feedback)
