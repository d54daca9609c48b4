"""ROUGE-L of an answer against a gold text, by the library `rouge-score`.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; the library's F-measure of the longest common
subsequence of words (lower case, letters a to z and digits alone). TaskBench (arXiv:2311.18760, taskbench/evaluate.py of
microsoft/JARVIS) joins the steps of a plan by line breaks and does not stem; its figure is the middle of the library's
bootstrap over all problems, which is their mean but for the noise of resampling, and ours is the mean itself. The code of
AgentTTS stems words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agenttts.verifiers.equality import written
from agenttts.verifiers.rules import GoldError

__all__ = ["rouge_l"]

STEP = ("task", "step", "id", "step_name", "description")
"""Keys under which a step may hold its text, the first that is there (as in TaskBench's script)."""


def rouge_l(gold: Any, answer: Any, stemmer: bool = False) -> float:
    """Return the F-measure of the longest common subsequence of words.

    Args:
        gold: A text, or a list of texts: the steps of one text, joined by line breaks (not several gold texts).
        answer: The same; a step may be a mapping that holds its text.
        stemmer: Whether words are compared by their Porter stems.

    Raises:
        GoldError: The gold value holds no word.
    """
    wanted = _text(gold)
    scorer = _scorer(stemmer)
    if not wanted.strip():
        raise GoldError("expected a text, got an empty one")
    return float(scorer.score(wanted, _text(answer))["rougeL"].fmeasure)


@lru_cache(maxsize=2)
def _scorer(stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, which is slow

    return RougeScorer(["rougeL"], use_stemmer=stemmer)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(map(_step, value))
    return _step(value)


def _step(value: Any) -> str:
    if isinstance(value, Mapping):
        value = next((value[key] for key in STEP if key in value), value)
    return written(value)
