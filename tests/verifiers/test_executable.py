from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.sandbox import Isolation, Limits
from agenttts.testing.hostile import HOSTILE, Host, hosting
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.executable import ExecutableVerifier

QUICK = Limits(timeout_s=2.0, output_bytes=100_000)
GAME = {"main.py": "from board import SIZE\nprint(SIZE)\n", "board.py": "SIZE = 3\n"}


async def scores(*answers: Any, isolation: Isolation = "auto", limits: Limits = QUICK) -> list[Score]:
    verifier = ExecutableVerifier(limits, isolation)
    return await verifier.score(Problem("p", {}), [Candidate("", "", answer) for answer in answers])


class TestExecutableContract(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return ExecutableVerifier(QUICK)

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        return [Candidate("", "", answer) for answer in (GAME, "1 / 0", "x = (", GAME, None)]


@pytest.mark.parametrize("isolation", ["auto", "process"])
async def test_a_failure_is_told_with_its_files_and_lines_and_nothing_of_this_run(
    isolation: Isolation,
) -> None:
    broken = {
        "main.py": "import game.board\ngame.board.move()\n",
        "game/board.py": "def move():\n    return 1 / 0\n",
    }
    first, again = (
        (await scores(broken, isolation=isolation))[0],
        (await scores(broken, isolation=isolation))[0],
    )
    assert first.value == 0
    assert first.feedback.startswith(
        "The program ended with exit status 1.\nTraceback (most recent call last):\n"
    )
    assert 'File "main.py", line 2, in <module>\n' in first.feedback
    assert 'File "game/board.py", line 2, in move\n' in first.feedback
    assert first.feedback.endswith("ZeroDivisionError: division by zero")
    assert first.feedback == again.feedback
    assert "program.py" not in first.feedback


async def test_long_tracebacks_are_told_by_their_end() -> None:
    (score,) = await scores("raise ValueError('x' * 10_000 + 'end')")
    assert score.feedback.endswith("xend")
    assert len(score.feedback) < 2200


async def test_a_program_that_runs_on_is_executable() -> None:
    on, printing, both = await scores(
        "while True:\n    pass\n",
        "while True:\n    print('x' * 1000)\n",
        "import threading, time\nthreading.Thread(target=lambda: 1 / 0).start()\ntime.sleep(60)\n",
    )
    assert (on.value, on.feedback) == (1, "")
    assert (printing.value, printing.feedback) == (1, "")
    assert both.value == 0  # a traceback was printed, as ChatDev looks for
    assert "ZeroDivisionError" in both.feedback


async def test_standard_input_is_empty() -> None:
    read, asked = await scores("import sys\nassert sys.stdin.read() == ''\n", "input()")
    assert read.value == 1
    assert "EOFError" in asked.feedback


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"game.py": "print(1)\n", "notes.txt": "x"}, 1),
        (
            {
                "game.py": "import board\nif __name__ == '__main__':\n    print(board.x)\n",
                "board.py": "x = 1\n",
            },
            1,
        ),
        ({"game.py": "print(1)\n", "board.py": "x = 1\n"}, 0),
        ({"src/main.py": "import board\n", "src/board.py": "x = 1\n", "a.txt": "__main__"}, 0),
        (
            {
                "src/main.py": "import board\nif __name__ == '__main__':\n    pass\n",
                "src/board.py": "x = 1\n",
            },
            1,
        ),
        ({"notes.txt": "x"}, 0),
    ],
)
async def test_it_starts_with_main_or_what_can_only_be_meant(files: dict[str, str], value: float) -> None:
    (score,) = await scores(files)
    assert score.value == value
    assert bool(score.feedback) == (value == 0)


async def test_an_answer_without_code_is_wrong() -> None:
    for score in await scores(None, "", 5, {}, {"main.py": 5}, ["print(1)"]):
        assert (score.value, score.feedback) == (0, "There is no code in the answer.")


async def test_a_text_may_hold_the_files_in_fences() -> None:
    text = "main.py\n```python\nimport board\n```\n\nboard.py\n```python\nx = 1\n```\n"
    assert [score.value for score in await scores(text, "print('''\n```\nno fence of a file''')\n")] == [1, 1]


async def test_programs_hold_any_text() -> None:
    odd = "x = '''\"@FILES@\" \\\\ \\n {} % \U0001f600 \u2028'''\nassert len(x) == 22, len(x)\n"
    (score,) = await scores(odd)
    assert (score.value, score.feedback) == (1, "")


@pytest.mark.parametrize(
    "name", ["../planted.py", "/tmp/planted.py", "a/../../planted.py", "..", "C:\\planted.py", "a\0.py"]
)
async def test_names_that_lead_out_are_never_written(name: str) -> None:
    program = "import os\nassert sorted(os.listdir('.')) == ['main.py'], os.listdir('.')\n"
    (score,) = await scores({"main.py": program, name: "x = 1\n"})
    assert (score.value, score.feedback) == (1, "")


def gone(host: Host) -> bool:
    """Tell whether no process is left; the kernel may take a moment to end a namespace."""
    end = time.monotonic() + 3
    while host.processes() and time.monotonic() < end:
        time.sleep(0.02)
    return not host.processes()


@pytest.mark.parametrize("isolation", ["auto", "process"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_programs_touch_nothing(name: str, isolation: Isolation, tmp_path: Path) -> None:
    with hosting(tmp_path) as host:
        (score,) = await scores({"main.py": host.program(name)}, isolation=isolation)
        assert score.value in {0, 1}
        assert not score.unscored_because
        assert host.secret not in score.feedback
        assert host.n_connections == 0
        assert host.files() == {"secret": host.secret}
        assert gone(host)


async def test_a_program_that_needs_too_much_memory_fails() -> None:
    (score,) = await scores("held = [b'x' * 100_000_000 for _ in range(100)]")
    assert score.value == 0
    assert score.feedback.startswith("The program needed too much memory.")


async def test_a_machine_that_cannot_run_programs_leaves_them_unscored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from agenttts.sandbox import run

    run._why_no_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        (score,) = await scores(GAME, isolation="bubblewrap")
    finally:
        run._why_no_bubblewrap.cache_clear()
    assert score.value is None
    assert "bwrap" in score.unscored_because
