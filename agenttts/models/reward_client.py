"""Reward models over HTTP as a source of samples: the same limits, deadlines, retries and bills as for chat.

The request's messages are the prompt and, as the assistant's message, the reply to be scored. The one sample is a JSON
list of scores; it costs the reading of the tokens and decodes nothing. Being deterministic, every draw of a request is
the same, so one call serves all of them. A reply without usable scores is a sample, too, with an empty text and its cause
in `details["unscored"]`: it is billed and kept, because asking again would give the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.budgets.cards import ModelCard, RewardBlock
from agenttts.errors import CardError, RequestRefusedError
from agenttts.models.alone import asked_alone
from agenttts.models.base import CallUsage, Message, Reply, Request, Sample, SamplingParameters
from agenttts.models.chat import MalformedReply
from agenttts.models.limits import Endpoint
from agenttts.models.openai_client import OpenAITransport, base_url_of, without_secrets
from agenttts.models.provider import ProviderClient
from agenttts.models.retry import ClientEvent
from agenttts.models.reward_api import (
    PATHS,
    NoScoresError,
    Scored,
    read_scores,
    read_usage,
    request_body,
    scored,
)
from agenttts.models.tokens import TOKENS_AROUND_MESSAGE, counter, prompt_text

__all__ = ["Reward", "address_of", "reward_client", "score_messages"]


def reward_of(card: ModelCard) -> RewardBlock:
    """Return how a card's reward model is asked.

    Raises:
        CardError: It is none.
    """
    if card.reward is None:
        raise CardError(f"model {card.name} is no reward model: its card has no `reward`")
    return card.reward


def address_of(card: ModelCard) -> str:
    """Return where a reward model is asked."""
    reward = reward_of(card)
    path = PATHS[reward.api] if reward.path is None else reward.path
    return base_url_of(card) + (f"/{path.lstrip('/')}" if path else "")


@dataclass(frozen=True)
class Reward:
    """How a card's reward model is spoken to; see `provider.Dialect`."""

    card: ModelCard
    most_n: int = sys.maxsize

    def body(self, request: Request, first: int, n: int) -> dict[str, Any]:
        """Return the request; see `Dialect.body`."""
        return self._body(self._scored(request))

    def read(self, data: Any, request: Request, first: int, n: int) -> Reply:
        """Return n equal samples and the bill of the one call; see `Dialect.read`."""
        what, reward = self._scored(request), reward_of(self.card)
        usage = read_usage(reward, data) or self._counted(what)
        details: dict[str, Any] = {}
        try:
            text = json.dumps(read_scores(reward, data, len(what.steps)))
        except MalformedReply as error:
            raise MalformedReply(str(error), usage) from error
        except NoScoresError as error:
            text, details = "", {"unscored": str(error)}
        ending = "unscored" if details else "stop"
        return Reply.of_equals(text, ending, details, usage, range(first, first + n))

    def worst(self, request: Request, n: int) -> CallUsage:
        """Return the most that a call may read: one token per byte, and what a chat template adds."""
        text = json.dumps(self.body(request, 0, n), ensure_ascii=False)
        around = TOKENS_AROUND_MESSAGE * (len(request.messages) + 2)
        return CallUsage(len(text.encode("utf-8", "surrogatepass")) + around, ())

    def unread(self, request: Request) -> CallUsage:
        """Return what was read for a reply that nobody can read, by the card's token counter."""
        return self._counted(self._scored(request))

    def _scored(self, request: Request) -> Scored:
        if len(request.messages) < 2 or request.messages[-1].role != "assistant":
            raise self._refused(
                "a reward model is asked with a prompt and, as the assistant's message, the reply to be scored"
            )
        reward = reward_of(self.card)
        what = scored(reward, request)
        if reward.scores == "steps" and not what.steps:
            raise self._refused("the reply holds no step")
        return what

    def _body(self, what: Scored) -> dict[str, Any]:
        from agenttts.pipeline.prompts import PromptRenderError

        try:
            return request_body(self.card, reward_of(self.card), what)
        except (PromptRenderError, ValueError) as error:
            raise self._refused(f"`reward.request` of card {self.card.name}: {error}") from error

    def _refused(self, message: str) -> RequestRefusedError:
        place = without_secrets(base_url_of(self.card))
        return RequestRefusedError(message, endpoint=place, model=self.card.name, n_attempts=0)

    def _counted(self, what: Scored) -> CallUsage:
        name = self.card.token_counter
        return CallUsage(max(1, counter(name)(f"{prompt_text(what.prompt)}\n{what.text}")), (), 0, name)


def reward_client(
    card: ModelCard, endpoint: Endpoint, on_event: Callable[[ClientEvent], None] | None = None
) -> ProviderClient:
    """Return the client of a reward model.

    Raises:
        AuthenticationError: Its card names a variable for its key that is not set.
    """
    transport = OpenAITransport(card, card.max_concurrency, address_of(card))
    return ProviderClient(card, transport, endpoint, on_event, Reward(card))


def score_messages(
    card: ModelCard, sampling: SamplingParameters, requests: Sequence[tuple[Message, ...]]
) -> list[Sample]:
    """Return the reward model's reply to each request, without store and ledger; to be called in a thread.

    Where the model gives no reply, the sample says why, as one without usable scores does.

    Raises:
        ProviderError: Of the kind that stops runs, e.g. an endpoint that is down.
    """
    return asked_alone(reward_client, card, sampling, requests)
