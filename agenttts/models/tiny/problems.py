"""The word problems that the tiny family is trained on: a generator that a seed fixes.

Somebody goes to a fair with some coins. Every stall changes the coins in its own fixed way, which the text does not
tell (`LEXICON` does): a reader must remember that a visit to "daki" means `*3`. So the two stages are hard for
different reasons: `translate` (text to plan) needs knowledge, `solve` (plan to worked steps) needs computation.

Pure standard library. Tokens live in `tokenizer`, the held-out problems in `tasks/tiny/problems.jsonl`.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

LEXICON_SEED = 20260
N_STALLS = 1000
"""Number of invented words to remember."""
ZIPF_SHIFT = 20
ZIPF_EXPONENT = 1.0
"""A stall of rank r is visited in proportion to (r + shift) ** -exponent."""
WORD_SHARE = 0.7
"""Share of the steps that are a visit to a stall; the rest say the amount in plain words."""
SMALLEST_VALUE, LARGEST_VALUE = 10, 199
"""The coins stay in this range."""
MIN_STEPS, MAX_STEPS = 2, 4

NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
OPENINGS = (" has ", " starts with ", " brings ")
VISITS = (": plays", ": visits", ": tries", ": stops at")
EARNS = (": earns ", ": finds ")
SPENDS = (": spends ", ": loses ")
COINS = " coins."
QUESTION = " How many coins now?"
CONSONANTS = "bdfgklmnprtz"
VOWELS = "aeiou"
SYLLABLES = tuple(c + v for c in CONSONANTS for v in VOWELS)

_STEP = re.compile(r" (?P<day>[A-Z][a-z]{2})(?P<op>[+*-])(?P<amount>\d{1,4})")
_PLAN = re.compile(r"(?P<start>\d{1,4})(?P<steps>(?: [A-Z][a-z]{2}[+*-]\d{1,4})+)")


@dataclass(frozen=True)
class Change:
    """What one step does to the coins: `op` is one of + - *."""

    op: str
    amount: int

    def apply(self, value: int) -> int:
        """Return the coins after the step."""
        if self.op == "+":
            return value + self.amount
        return value - self.amount if self.op == "-" else value * self.amount

    def __str__(self) -> str:
        """Return the change as the plan writes it, such as `*3`."""
        return f"{self.op}{self.amount}"


@dataclass(frozen=True)
class TinyProblem:
    """One word problem with its reference plan, worked trace and answer."""

    text: str
    plan: str
    trace: str
    answer: int
    n_steps: int


@lru_cache(maxsize=1)
def lexicon() -> dict[str, Change]:
    """Return what every stall does, from the most visited to the least."""
    rng = random.Random(LEXICON_SEED)
    words = rng.sample([a + b for a, b in itertools.product(SYLLABLES, SYLLABLES)], N_STALLS)
    return {word: _random_change(rng) for word in words}


def problems(
    seed: int | str,
    excluded: frozenset[str] = frozenset(),
    lengths: tuple[int, int] = (MIN_STEPS, MAX_STEPS),
) -> Iterator[TinyProblem]:
    """Yield problems without end; the same arguments give the same ones.

    Args:
        seed: Names the stream.
        lengths: Fewest and most steps of a problem.
        excluded: Texts and plans that must not occur (the held-out ones, while training).
    """
    rng = random.Random(f"agenttts-tiny-{seed}")
    while True:
        problem = _random_problem(rng, rng.randint(*lengths))
        if problem.text not in excluded and problem.plan not in excluded:
            yield problem


def work_out(plan: str) -> str | None:
    """Return the worked trace of a plan, `None` where the plan is not well formed.

    >>> work_out("24 Mon*3 Tue-5")
    '24 Mon*3=72 Tue-5=67'
    """
    match = _PLAN.fullmatch(plan)
    if match is None:
        return None
    value = int(match["start"])
    parts = [match["start"]]
    for step in _STEP.finditer(match["steps"]):
        value = Change(step["op"], int(step["amount"])).apply(value)
        parts.append(f"{step[0]}={value}")
    return "".join(parts)


def answer_of(trace: str) -> int | None:
    """Return the number a trace ends with, `None` where it does not end with one."""
    match = re.search(r"=(-?\d{1,9})$", trace.strip())
    return int(match[1]) if match else None


def _random_change(rng: random.Random) -> Change:
    op = rng.choices("+-*", weights=(40, 35, 25))[0]
    return Change(op, rng.randint(2, 5) if op == "*" else rng.randint(10, 79))


@lru_cache(maxsize=1)
def _stall_table() -> tuple[list[str], list[float]]:
    words = list(lexicon())
    weights = ((rank + ZIPF_SHIFT) ** -ZIPF_EXPONENT for rank in range(len(words)))
    return words, list(itertools.accumulate(weights))


def _random_problem(rng: random.Random, n_steps: int) -> TinyProblem:
    value = start = rng.randint(SMALLEST_VALUE, 99)
    sentences, changes = [], []
    for day in DAYS[:n_steps]:
        sentence, change = _random_step(rng, value)
        value = change.apply(value)
        sentences.append(f" {day}{sentence}.")
        changes.append(f" {day}{change}")
    text = f"{rng.choice(NAMES)}{rng.choice(OPENINGS)}{start}{COINS}{''.join(sentences)}{QUESTION}"
    plan = f"{start}{''.join(changes)}"
    return TinyProblem(text, plan, work_out(plan) or "", value, n_steps)


def _random_step(rng: random.Random, value: int) -> tuple[str, Change]:
    """Draw a sentence and its change that keeps the coins in range."""
    while True:
        sentence, change = _visit(rng) if rng.random() < WORD_SHARE else _plain(rng)
        if SMALLEST_VALUE <= change.apply(value) <= LARGEST_VALUE:
            return sentence, change


def _visit(rng: random.Random) -> tuple[str, Change]:
    words, cumulative = _stall_table()
    word = words[bisect.bisect(cumulative, rng.random() * cumulative[-1])]
    return f"{rng.choice(VISITS)} {word}", lexicon()[word]


def _plain(rng: random.Random) -> tuple[str, Change]:
    op, forms = rng.choice((("+", EARNS), ("-", SPENDS)))
    amount = rng.randint(10, 79)
    return f"{rng.choice(forms)}{amount}", Change(op, amount)


def special_strings() -> Sequence[str]:
    """Return the strings, apart from digits and syllables, that the texts are built of."""
    days = tuple(f" {day}" for day in DAYS)
    return (*NAMES, *days, *OPENINGS, *VISITS, *EARNS, *SPENDS, COINS, QUESTION, ".", "+", "-", "*", "=")
