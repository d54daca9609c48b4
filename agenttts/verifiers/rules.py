"""Verifiers that are rules: they compare an answer with a gold field of the problem, or check its form.

An answer that could not be parsed scores 0; a problem whose gold field is missing or unusable leaves it unscored.
Sources: Rajpurkar et al. 2018, arXiv:1806.03822, official script evaluate-v2.0.py (exact match, token F1); Yang et al. 2018,
arXiv:1809.09600, hotpot_evaluate_v1.py (`yes_no`), which Ho et al. 2020, arXiv:2011.01060 (2WikiMultihopQA), share.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import regex

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.equality import field_value, loose_key, parse_number, same_answer, squad_normalise

__all__ = [
    "FormRule",
    "GoldError",
    "GoldRule",
    "choice",
    "exact",
    "exact_as_written",
    "exact_squad",
    "json_schema",
    "matches",
    "numeric",
    "set_f1",
    "token_f1",
]

MATCH_TIMEOUT_S = 1.0


class GoldError(ValueError):
    """The gold value is not what the rule compares with."""


@dataclass(frozen=True)
class GoldRule:
    """Scores answers by comparison with one field of the problem."""

    gold: str
    """Dotted path of the field."""
    compare: Callable[[Any, Any], float]
    """Called with (gold, answer), returns a score in [0, 1] or raises `GoldError`."""
    reads_text = False
    """Whether the score depends on more than the answer."""

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        try:
            gold = field_value(problem.fields, self.gold)
        except KeyError:
            return [Score(None, f"problem {problem.id} has no field {self.gold!r}")] * len(candidates)
        if gold is None:
            return [Score(None, f"problem {problem.id}: field {self.gold!r} is empty")] * len(candidates)
        return [self._one(gold, candidate.answer) for candidate in candidates]

    def _one(self, gold: Any, answer: Any) -> Score:
        if answer is None:
            return Score(0.0)
        try:
            return Score(self.compare(gold, answer))
        except GoldError as error:
            return Score(None, f"gold field {self.gold!r}: {error}")


@dataclass(frozen=True)
class FormRule:
    """Scores answers by a check that needs no gold, so that it can also select."""

    holds: Callable[[Any], bool]
    reads_text = False

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        return [self._one(candidate.answer) for candidate in candidates]

    def _one(self, answer: Any) -> Score:
        if answer is None:
            return Score(0.0)
        try:
            return Score(float(self.holds(answer)))
        except TimeoutError:
            return Score(None, f"the pattern took longer than {MATCH_TIMEOUT_S:g} s")


# --- comparisons with gold; a list as gold means: any of them


def best_of_golds(gold: Any, score: Callable[[Any], float]) -> float:
    """Return the best score over the gold values: the items of a list, or the one value itself."""
    golds = list(gold) if isinstance(gold, list | tuple | Set) else [gold]
    if not golds:
        raise GoldError("an empty list holds no gold answer")
    return max(score(one) for one in golds)


def exact(gold: Any, answer: Any) -> float:
    """Return 1 where the answers agree after normalisation, else 0.

    Two departures from the official exact match (see `same_answer`); `exact_squad` is that one.
    """
    if (
        isinstance(answer, list | tuple)
        and isinstance(gold, list | tuple)
        and same_answer(list(gold), list(answer))
    ):
        return 1.0
    return best_of_golds(gold, lambda one: float(same_answer(one, answer)))


def exact_squad(gold: Any, answer: Any) -> float:
    """Return 1 where the official script of SQuAD (also HotpotQA's, 2WikiMultihopQA's) finds an exact match, else 0.

    Lists as answers are read as their items joined by spaces.
    """
    text = squad_normalise(_plain(answer))
    return best_of_golds(gold, lambda one: float(squad_normalise(_plain(one)) == text))


def exact_as_written(gold: Any, answer: Any) -> float:
    """Return 1 where the answers agree to the letter, outer white space apart, else 0."""
    if isinstance(answer, list) and isinstance(gold, list) and gold == answer:
        return 1.0
    return best_of_golds(gold, lambda one: float(_as_written(one) == _as_written(answer)))


def _as_written(value: Any) -> Any:
    # JSON keeps True and 1 apart, which Python calls equal, and takes "42" of a text for the number 42 of a data file.
    return value.strip() if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


YES_NO = frozenset({"yes", "no", "noanswer"})


def token_f1(gold: Any, answer: Any, yes_no: bool = False) -> float:
    """Return the harmonic mean of precision and recall over normalised words, counted with repeats.

    This is the F1 of SQuAD's script 2.0, in which two texts of which nothing is left agree; version 1.1 gives them 0.

    Args:
        gold: One text, or a list: any of them.
        answer: The answer; lists are read as their items joined by spaces.
        yes_no: The F1 of the scripts of HotpotQA and 2WikiMultihopQA: where either side is yes, no or noanswer and the
            whole answers differ, and where nothing is left of both, the score is 0.
    """
    words = squad_normalise(_plain(answer)).split()
    return best_of_golds(gold, lambda one: _token_f1(squad_normalise(_plain(one)).split(), words, yes_no))


def _token_f1(gold: Sequence[str], words: Sequence[str], yes_no: bool) -> float:
    whole = {" ".join(gold), " ".join(words)}
    if not gold or not words:
        return float(gold == words and not yes_no)
    if yes_no and whole & YES_NO:
        return float(gold == words)
    n_common = sum((Counter(gold) & Counter(words)).values())
    return 2 * n_common / (len(gold) + len(words))


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def set_f1(gold: Any, answer: Any) -> float:
    """Return the harmonic mean of precision and recall over distinct items.

    On supporting facts this is HotpotQA's sp_f1, but for two empty sets: they agree here, and score 0 there.
    """
    wanted, named = _item_keys(gold), _item_keys(answer)
    if not wanted or not named:
        return float(wanted == named)
    return 2 * len(wanted & named) / (len(wanted) + len(named))


def _item_keys(value: Any) -> set[Any]:
    items = value if isinstance(value, list | tuple | Set) else [value]
    return {loose_key(item) for item in items}


def numeric(gold: Any, answer: Any, tolerance: float = 1e-9) -> float:
    """Return 1 where both are numbers and differ by at most `tolerance`, relative to the larger where above 1."""
    number = parse_number(answer)

    def one(gold_value: Any) -> float:
        wanted = parse_number(gold_value)
        if wanted is None:
            raise GoldError(f"expected a number, got {str(gold_value)[:40]!r}")
        if number is None:
            return 0.0
        return float(abs(wanted - number) <= tolerance * max(Fraction(1), abs(wanted), abs(number)))

    return best_of_golds(gold, one)


def choice(gold: Any, answer: Any) -> float:
    """Return 1 where both are the same label, whatever the case and the brackets around it, else 0."""
    return best_of_golds(gold, lambda one: float(_label(one) == _label(answer)))


def _label(value: Any) -> str:
    text = str(value).strip()
    return text.strip("()[]{}.:*_\"'` ").casefold() or text.casefold()


# --- checks of form


def matches(pattern: str) -> Callable[[Any], bool]:
    """Return a check that the pattern matches the whole answer; lists and mappings are read as JSON text."""
    compiled = regex.compile(pattern)
    return lambda answer: compiled.fullmatch(_json_text(answer), timeout=MATCH_TIMEOUT_S) is not None


def _json_text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)


def json_schema(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return a check that an answer, or the JSON value that its text holds, is valid under a JSON Schema.

    References to other documents are not followed: a check never fetches anything.

    Raises:
        ValueError: Not a JSON Schema.
    """
    from jsonschema import exceptions, validators  # slow to import
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    plain = dict(schema)
    kind = validators.validator_for(plain)
    try:
        kind.check_schema(plain)
    except exceptions.SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from error
    empty: Registry[Any] = Registry()
    validator = kind(plain, registry=empty)

    def holds(answer: Any) -> bool:
        try:
            return any(validator.is_valid(value) for value in _readings(answer))
        except Unresolvable:
            return False

    return holds


def _readings(answer: Any) -> list[Any]:
    if not isinstance(answer, str):
        return [answer]
    try:
        return [answer, json.loads(answer)]
    except (ValueError, RecursionError):
        return [answer]


def finite_score(value: object) -> float:
    """Return a score that code of the user gave, checked.

    Raises:
        ValueError: Not a number in [0, 1].
    """
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    raise ValueError(f"expected a number in [0, 1], got {str(value)[:40]!r}")
