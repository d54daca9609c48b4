"""The tiny family's process reward model: how likely every step of a plan or a worked trace is right.

It is one of the generators, asked how likely it would have written each token itself. The least likely token up to
the end of a step is turned into a probability by a logistic curve fitted to labelled steps of all generators. (Weights
fine-tuned to verdict tokens were tried: they judged plans and were blind to wrong sums.)

Steps are what spaces divide: "24 Mon*3=72 Tue-5=67" has three, the number to start with being the first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import numpy as np

from agenttts.models.tiny.model import TinyContextError, TinyModel
from agenttts.models.tiny.network import LONGEST, Network
from agenttts.models.tiny.sampling import log_probabilities
from agenttts.models.tiny.threads import one_thread
from agenttts.models.tiny.tokenizer import END, encode, encode_prompt, vocabulary

REWARD_MODEL = "tiny/prm"
ROWS_AT_ONCE = 256
FLOOR = -30.0
"""Logarithm at which a probability counts as 0: that of tokens which are never written, for one."""


@dataclass(frozen=True)
class TinyRewardModel:
    """A process reward model that runs in this process. Holds nothing that changes: threads may share it."""

    n_parameters: int
    n_layers: int
    width: int
    network: Network = field(repr=False)
    step_curve: tuple[float, float]
    """Intercept and slope over the natural logarithm of the least probability, for the ends of steps."""
    whole_curve: tuple[float, float]
    """The same for the end of the whole."""
    name: str = REWARD_MODEL

    @classmethod
    def load(cls) -> TinyRewardModel:
        """Return the model, read from the package once per process."""
        return _load()

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, ...]]:
        """Judge completions.

        Args:
            pairs: Prompt, as the generator saw it, and completion.

        Returns:
            For each pair the probability, after every step, that all steps so far are right; and last the
            probability that the whole is right and complete. An empty completion has the last value alone.

        Raises:
            TinyContextError: A pair has more than `LONGEST` tokens.
        """
        return [self._curves(least) for least in self.least_log_probabilities(pairs)]

    def least_log_probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        """Return what `score` is computed from: at each place the logarithm of the least likely token up to there."""
        least: list[list[float]] = []
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            with one_thread():
                least += self._read_together(pairs[start : start + ROWS_AT_ONCE])
        return least

    def count_tokens(self, prompt: str, completion: str) -> int:
        """Return how many tokens the model reads to judge a pair; it writes none."""
        return len(judged_document(prompt, completion)[0]) - 1  # the end is predicted, not read

    def _curves(self, least: list[float]) -> tuple[float, ...]:
        curves = [self.step_curve] * (len(least) - 1) + [self.whole_curve]
        return tuple(_logistic(a + b * value) for (a, b), value in zip(curves, least, strict=True))

    def _read_together(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        documents = [judged_document(prompt, completion) for prompt, completion in pairs]
        lengths = np.array([len(tokens) - 1 for tokens, _, _ in documents], dtype=np.int64)
        if lengths.max() > LONGEST:
            raise TinyContextError(f"a pair has {lengths.max()} tokens; {self.name} reads at most {LONGEST}")
        tokens = np.zeros((len(documents), int(lengths.max())), dtype=np.int64)
        for row, (document, _, _) in enumerate(documents):
            tokens[row, : len(document) - 1] = document[:-1]
        hidden, _ = self.network.prefill(tokens, lengths)
        least = []
        for states, (document, places, begins) in zip(hidden, documents, strict=True):
            log_p = log_probabilities(self.network.logits(states[begins - 1 : len(document) - 1]))
            written = np.maximum(log_p[np.arange(len(log_p)), document[begins:]], FLOOR)
            lowest = np.minimum.accumulate(written)
            least.append(lowest[np.array(places) - begins].tolist())
        return least


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def judged_document(prompt: str, completion: str) -> tuple[list[int], list[int], int]:
    """Return the tokens of a pair with the end token, the places to judge, and where the completion begins.

    Judged are every step's last token and the end.
    """
    head, body = encode_prompt(prompt), encode(completion.strip())
    texts = vocabulary()
    ends = [len(head) + i - 1 for i in range(1, len(body)) if texts[body[i]].startswith(" ")]
    if body:
        ends.append(len(head) + len(body) - 1)
    return [*head, *body, END], [*ends, len(head) + len(body)], len(head)


@lru_cache(maxsize=1)
def _load() -> TinyRewardModel:
    config = json.loads((resources.files("agenttts.models.tiny") / "weights" / "prm.json").read_text())
    generator = TinyModel.load(config["generator"])
    return TinyRewardModel(
        n_parameters=generator.n_parameters,
        n_layers=generator.n_layers,
        width=generator.width,
        network=generator.network,
        step_curve=tuple(config["step_curve"]),
        whole_curve=tuple(config["whole_curve"]),
    )
