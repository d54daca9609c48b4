"""The official definitions of the metrics of the tasks, written again from what the scripts do, and cases to try them on.

Nothing here uses the package. Scripts, as read on their main branches:

- SQuAD: evaluate-v1.1.py and evaluate-v2.0.py (rajpurkar.github.io/SQuAD-explorer), `f1_score`, `compute_f1`
- HotpotQA: hotpot_evaluate_v1.py (hotpotqa/hotpot); 2WikiMultihopQA: 2wikimultihop_evaluate.py (Alab-NII/2wikimultihop)
- TaskBench: taskbench/evaluate.py (microsoft/JARVIS), `flatten`, and scikit-learn's micro and binary averages
- ChatDev: `exist_bugs` (chatdev/chat_env.py) and `get_completeness` (chatdev/eval_quality.py), OpenBMB/ChatDev
"""

from __future__ import annotations

import random
import string
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Plan = list[dict[str, Any]]

# --- questions and answers


def normalised(text: str) -> list[str]:
    """Lower case; ASCII punctuation away; a, an and the, where they stand as words, away; split at white space."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    words, word = [], ""
    for letter in kept + " ":  # a word ends where letters, digits and low lines end
        if letter.isalnum() or letter == "_":
            word += letter
            continue
        words.append(" " if word in {"a", "an", "the"} else word)
        words.append(letter)
        word = ""
    return "".join(words).split()


def squad_exact_match(golds: Sequence[str], answer: str) -> float:
    return max(float(normalised(gold) == normalised(answer)) for gold in golds)


def squad_f1(golds: Sequence[str], answer: str, *, version: int = 2) -> float:
    return max(_f1_of_words(normalised(gold), normalised(answer), version) for gold in golds)


def _f1_of_words(gold: list[str], answer: list[str], version: int) -> float:
    if version == 2 and (not gold or not answer):
        return float(gold == answer)
    left, same = list(gold), 0
    for word in answer:
        if word in left:
            left.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(answer), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def hotpot_f1(gold: str, answer: str) -> float:
    """Also 2WikiMultihopQA's. These scripts know one gold answer."""
    ours, theirs = " ".join(normalised(answer)), " ".join(normalised(gold))
    if ours != theirs and any(one in {"yes", "no", "noanswer"} for one in (ours, theirs)):
        return 0.0
    return _f1_of_words(normalised(gold), normalised(answer), 1)


def hotpot_supporting_f1(gold: Sequence[int], named: Sequence[int]) -> float:
    right = [item for item in set(named) if item in set(gold)]
    precision = len(right) / len(set(named)) if named else 0.0
    recall = len(right) / len(set(gold)) if gold else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


# --- plans of tools


def node_items(plan: Plan) -> list[str]:
    return [node["task"] for node in plan]


def name_items(plan: Plan) -> list[str]:
    return [f"{node['task']}-{argument['name']}" for node in plan for argument in node["arguments"]]


def value_items(plan: Plan) -> list[str]:
    return [
        f"{node['task']}-{argument['name']}-{argument['value']}"
        for node in plan
        for argument in node["arguments"]
    ]


def pooled_f1(
    golds: Sequence[list[str]], answers: Sequence[list[str]], known: Sequence[str] | None = None
) -> float:
    """The F1 of all problems' items together. `known`: all tools; predicted names that are none of them do not count."""
    right = wrong = missing = 0
    for gold, answer in zip(golds, answers, strict=True):
        for item in {*gold, *answer}:
            if known is not None and item not in known:
                continue
            right += item in gold and item in answer
            wrong += item not in gold
            missing += item not in answer
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missing) if right + missing else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


# --- texts


def rouge_l_by_hand(gold: str, answer: str) -> float:
    """ROUGE-L without stems: the longest common subsequence, found by its definition, and the F-measure."""
    wanted, words = _rouge_words(gold), _rouge_words(answer)
    if not wanted or not words:
        return 0.0
    row = [0] * (len(words) + 1)
    for one in wanted:
        row = _next_row(row, one, words)
    precision, recall = row[-1] / len(words), row[-1] / len(wanted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _next_row(row: list[int], one: str, words: list[str]) -> list[int]:
    grown = [0]
    for index, word in enumerate(words):
        grown.append(row[index] + 1 if word == one else max(row[index + 1], grown[index]))
    return grown


def _rouge_words(text: str) -> list[str]:
    letters = set(string.ascii_lowercase + string.digits)
    return "".join(letter if letter in letters else " " for letter in text.lower()).split()


# --- programs


def chatdev_completeness(files: dict[str, str]) -> float:
    code = "\n".join(text for name, text in files.items() if name.endswith(".py")).lower()
    innocent = ("password", "passenger", "passed", "passes")
    lines = [line for line in code.split("\n") if not any(word in line for word in innocent)]
    return float(not any("pass" in line or "todo" in line for line in lines))


def chatdev_executability(files: dict[str, str], folder: Path, *, wait_s: float = 3.0) -> float:
    """Runs a program without any protection: for programs that we wrote ourselves."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with (folder / "stderr").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        end = time.monotonic() + wait_s
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
        process.wait()
        return float("traceback" not in (folder / "stderr").read_text().lower())


# --- cases

_TEXT = (
    "the The a an A yes no Yes. noanswer Paris paris, France U.S. New York City 42 4.2 1,000 1000 -5 5 50% $5 1/2 0.5 "
    "the_end anthem Über naïve O'Neil rock'n'roll Ulm–Süd ! - + cat cats dog running runs café 1990s co-op\tx"
)
WORDS = _TEXT.split(" ")
TOOLS = ("make_call", "send_sms", "book_hotel", "play_music", "set_alarm", "search_web")
NAMES = ("to", "text", "date", "name", "time-zone")
VALUES = ("Ann", "2024-01-01", "7", 7, True, "a b", ["x", 1], "")


def question_cases(n: int, seed: int = 0) -> list[tuple[list[str], str]]:
    """Gold texts and an answer: unrelated, taken from one of them and changed, or the same in another dress."""
    rng = random.Random(seed)
    return [_question_case(rng) for _ in range(n)]


def _question_case(rng: random.Random) -> tuple[list[str], str]:
    golds = [" ".join(rng.choices(WORDS, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 3))]
    return golds, changed(rng.choice(golds), rng)


def changed(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    way = rng.randrange(5)
    if way == 0:
        return " ".join(rng.choices(WORDS, k=rng.randint(0, 5)))
    if way == 1:
        rng.shuffle(words)
    elif way == 2:
        words = [word for word in words if rng.random() < 0.7]
    elif way == 3:
        words.insert(rng.randrange(len(words) + 1), rng.choice(WORDS))
    return rng.choice([str.upper, str.lower, str.title, str])(rng.choice([" ", "  ", ", "]).join(words))


def plan_cases(n: int, seed: int = 0) -> list[tuple[Plan, Plan]]:
    """A gold plan of one tool or more, and a plan that is like it, with what models do wrong."""
    rng = random.Random(seed)
    return [(gold := _plan(rng, rng.randint(1, 5)), _changed_plan(gold, rng)) for _ in range(n)]


def _plan(rng: random.Random, n: int) -> Plan:
    return [
        {
            "task": rng.choice(TOOLS),
            "arguments": [
                {"name": rng.choice(NAMES), "value": rng.choice(VALUES)} for _ in range(rng.randint(0, 3))
            ],
        }
        for _ in range(n)
    ]


def _changed_plan(gold: Plan, rng: random.Random) -> Plan:
    kept = [node for node in gold if rng.random() < 0.8]
    plan = [
        {
            "task": node["task"] if rng.random() < 0.9 else rng.choice([*TOOLS, "made_up"]),
            "arguments": [_changed_argument(one, rng) for one in node["arguments"] if rng.random() < 0.9],
        }
        for node in kept
    ]
    return plan + _plan(rng, rng.randint(0, 1))


def _changed_argument(argument: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    return argument if rng.random() < 0.7 else {**argument, "value": rng.choice(VALUES)}


PROGRAMS: dict[str, dict[str, str]] = {
    "two files": {"main.py": "import util\nprint(util.f())\n", "util.py": "def f():\n    return 1\n"},
    "divides by zero": {"main.py": "import util\nutil.f()\n", "util.py": "def f():\n    return 1 / 0\n"},
    "no Python": {"main.py": "def f(:\n"},
    "runs on": {"main.py": "while True:\n    pass\n"},
    "asks": {"main.py": "print(input('name: '))\n"},
    "exits with 3": {"main.py": "import sys\nsys.exit(3)\n"},
    "prints on": {"main.py": "while True:\n    print('x' * 1000)\n"},
    "prints a traceback": {
        "main.py": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n"
    },
    "lacks a file": {"main.py": "import missing_part\n"},
    "in folders": {"main.py": "from game.board import SIZE\nprint(SIZE)\n", "game/board.py": "SIZE = 3\n"},
    "pickles": {
        "main.py": "import pickle\nclass A:\n    x = 1\nprint(pickle.loads(pickle.dumps(A())).x)\n",
    },
    "stub": {"main.py": "def move():\n    pass\nmove()\n"},
    "stub with a docstring": {"main.py": 'def move():\n    """Move."""\n    ...\nmove()\n'},
    "not implemented": {"main.py": "def move():\n    raise NotImplementedError\n"},
    "note": {"main.py": "def move():\n    # TODO: really move\n    return 1\n"},
    "list of todos": {"main.py": "todos = ['wash up']\nprint(todos)\n"},
    "own error": {"main.py": "class Lost(Exception):\n    pass\nprint('won')\n"},
    "forgiving": {"main.py": "try:\n    print(1)\nexcept OSError:\n    pass\n"},
    "password": {"main.py": "password = 'x'\nprint(len(password))\n"},
}
