"""How many tokens prompts hold around what they show: those of fusions, choices, critics and refinements.

Pure. What a prompt of the task's own shows besides the stage's prompt and the samples (other fields of the problem, say)
is not known before a problem is, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttts.task.prompting import PromptBlock
    from agenttts.task.ways import SelectBlock

__all__ = ["critic_tokens", "way_tokens"]

AROUND_MESSAGES = 64.0
"""At worst: what chat templates put around the two messages of one more turn."""


def way_tokens(select: SelectBlock, n_shown: int, system: str, counter: str, *, at_worst: bool) -> float:
    """Return the tokens of the prompt by which a way asks once more.

    Args:
        select: The way; of a kind that has a prompt.
        n_shown: Samples shown.
        system: System part of the stage, which stands before a built-in prompt that shows samples.
        counter: Token counter of the model's card.
        at_worst: One per byte, which no tokenizer passes, instead of an estimate.
    """
    from agenttts.pipeline import prompts

    built_in: Mapping[str, PromptBlock] = {
        "agreed_fusion": prompts.BUILT_IN_RIVALS,
        "fusion": prompts.BUILT_IN_FUSION,
        "llm_select": prompts.BUILT_IN_CHOICE,
        "refine": prompts.BUILT_IN_REFINE,
        "tree": prompts.BUILT_IN_REFINE,
    }
    own = select.prompt or built_in[select.kind]
    if select.kind in {"refine", "tree"}:
        more = AROUND_MESSAGES if at_worst else 0.0
        return more + _tokens(own, 1, "", counter, at_worst=at_worst)
    return _tokens(own, n_shown, system if select.prompt is None else "", counter, at_worst=at_worst)


def critic_tokens(select: SelectBlock, counter: str, *, at_worst: bool) -> float:
    """Return the tokens of the prompt by which a critic is asked; see `way_tokens`."""
    from agenttts.pipeline.prompts import BUILT_IN_CRITIC

    own = select.critic.prompt if select.critic is not None else None
    return _tokens(own or BUILT_IN_CRITIC, 1, "", counter, at_worst=at_worst)


def _tokens(block: PromptBlock, n_shown: int, system: str, counter: str, *, at_worst: bool) -> float:
    return _counted(block.system or system, block.user or "", n_shown, counter, at_worst)


@lru_cache(maxsize=256)
def _counted(system: str, user: str, n_shown: int, counter: str, at_worst: bool) -> float:
    from agenttts.models.tokens import counter as counter_of

    text = _around(system, user, n_shown)
    if at_worst:
        return float(len(text.encode("utf-8", "surrogatepass")))
    # Other tokenizers are too heavy to load for what is an estimate anyway.
    return float(counter_of(counter if counter == "tiny" else "chars/4")(text))


def _around(system: str, user: str, n_shown: int) -> str:
    """Return a prompt with nothing in it; the templates themselves where they read what is not known here."""
    from agenttts.pipeline.prompts import Prompt, PromptRenderError
    from agenttts.task.prompting import PromptBlock

    shown = {"candidates": [""] * n_shown, "answers": [""] * n_shown}
    empty = {"prompt": "", "text": "", "answer": "", "feedback": " "}
    try:
        messages = Prompt.compile(PromptBlock(system=system or None, user=user)).render({**shown, **empty})
    except PromptRenderError:
        return system + user
    return "".join(message.content for message in messages)
