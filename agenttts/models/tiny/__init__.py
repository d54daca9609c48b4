"""The tiny family: real language models, trained by this project, small enough to ship and to run in this process.

`problems` makes the word problems they are trained on, `model` generates, `reward` judges steps. What they can do and
cannot is measured in MODEL_CARD.md. NumPy only; nothing is downloaded.
"""

from agenttts.models.tiny.model import (
    GENERATORS,
    Generation,
    GenerationRequest,
    TinyContextError,
    TinyModel,
    UnknownTinyModelError,
)
from agenttts.models.tiny.reward import REWARD_MODEL, TinyRewardModel

__all__ = [
    "GENERATORS",
    "REWARD_MODEL",
    "Generation",
    "GenerationRequest",
    "TinyContextError",
    "TinyModel",
    "TinyRewardModel",
    "UnknownTinyModelError",
]
