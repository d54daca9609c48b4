"""A plan as a model of inspect_ai, and as a solver.

Each call to generate runs the whole plan. Its usage is that of all calls of all stages, its cost in USD is the plan's
own, and `output.metadata["agenttts"]` holds answer, cost and stages, so that they stand in the log. A provider that
fails raises: inspect_ai counts an error of the sample, not a wrong answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelCost,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.model._model_output import ServedModelUsage
from inspect_ai.solver import Generate, Solver, TaskState
from inspect_ai.solver._task_state import sample_state
from inspect_ai.tool import ToolChoice, ToolInfo

from agenttts.errors import InputError
from agenttts.harness.loops import PerLoop
from agenttts.harness.plans import Reading, check_content, find_plan, reply_text
from agenttts.models.base import Message, Role
from agenttts.pipeline.base import Problem
from agenttts.pipeline.bill import bill_of, tokens_of
from agenttts.pipeline.plan import PlanAnswer

__all__ = ["PlanModel", "plan_solver"]

KEY = "agenttts"
"""In the metadata of outputs: what answering took. In that of a message: the problem, where it is known already."""
SEEDS_PER_EPOCH = 1000
"""Far more than any solver asks the same question within one epoch."""
OURS = frozenset(
    {"max_connections", "max_retries", "timeout", "attempt_timeout", "seed", "cache", "system_message"}
)
"""Options of generate that inspect_ai itself or this model obeys."""
ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}

logger = logging.getLogger(__name__)


class PlanModel(ModelAPI):
    """A plan as a model; see the module."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - the signature of inspect_ai
        fields: str | Mapping[str, str] | None = None,
        content: str = "text",
        store: str | None = None,
        trust: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if unknown:
            raise PrerequisiteError(
                f"agenttts/{model_name}: unknown model arguments {', '.join(unknown)}; "
                "known: content, fields, store, trust"
            )
        try:
            self.plan = find_plan(model_name, trust=trust, endpoint=base_url)
            self._reading = Reading.of(self.plan, fields)
            check_content(content)
        except InputError as error:
            raise PrerequisiteError(str(error)) from error
        self._content = content
        self._opened = PerLoop(lambda: self.plan.open(store=store))
        self._asked: Counter[tuple[int, bytes]] = Counter()
        self._told: set[str] = set()

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 - the signature of inspect_ai
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Run the plan on the problem that the conversation holds."""
        if tools:
            raise PrerequisiteError(f"agenttts/{self.model_name}: a plan calls no tools; take them away")
        self._tell_ignored(config)
        problem = self._problem(input)
        opened = await self._opened.get()
        answer = await opened.aanswer(problem, seed=self._seed(problem) + (config.seed or 0))
        return self._output(answer)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._opened.aclose()

    def max_connections(self) -> int:
        """Problems worked on at a time, unless the user says otherwise; cards limit the requests of each endpoint."""
        return 32

    def connection_key(self) -> str:
        """Plans do not wait for one another."""
        return self.model_name

    def served_model_usage(self, output: ModelOutput) -> list[ServedModelUsage] | None:
        """Return what the plan cost in USD, in the form of a price: cost limits and logs of inspect_ai count it."""
        usd = ((output.metadata or {}).get(KEY) or {}).get("cost", {}).get("usd")
        if usd is None or output.usage is None or not output.usage.total_tokens:
            return None
        price = usd * 1e6 / output.usage.total_tokens  # one for both kinds, so that the product is the cost
        cost = ModelCost(input=price, output=price, input_cache_write=0, input_cache_read=0)
        return [ServedModelUsage(f"{KEY}/{self.model_name}", output.usage, cost)]

    def _problem(self, messages: Sequence[ChatMessage]) -> Problem:
        last = messages[-1].metadata if messages else None
        if last is not None and KEY in last:  # of our own solver, which has read the sample
            return Problem(str(last[KEY]["id"]), last[KEY]["fields"])
        chat = [Message(ROLES[one.role], _text(one)) for one in messages if one.role in ROLES]
        state = sample_state()
        return self._reading.problem(chat, problem_id=None if state is None else state.sample_id)

    def _seed(self, problem: Problem) -> int:
        """Return another seed for each time that a problem is asked: epochs and repeats are to be independent draws."""
        state = sample_state()
        epoch = 1 if state is None else state.epoch
        text = json.dumps([problem.id, dict(problem.fields)], sort_keys=True, default=str)
        key = (epoch, hashlib.sha256(text.encode()).digest()[:8])
        self._asked[key] += 1
        return (epoch - 1) * SEEDS_PER_EPOCH + self._asked[key] - 1

    def _output(self, answer: PlanAnswer) -> ModelOutput:
        tokens = tokens_of(answer)
        output = ModelOutput.from_content(
            model=self.model_name, content=reply_text(self.plan, answer, self._content)
        )
        output.usage = ModelUsage(
            input_tokens=tokens.prefill, output_tokens=tokens.decode, total_tokens=tokens.total
        )
        output.metadata = {KEY: bill_of(self.plan, answer)}
        return output

    def _tell_ignored(self, config: GenerateConfig) -> None:
        given = set(config.model_dump(exclude_none=True)) - OURS - self._told
        if given:
            self._told |= given
            logger.warning(
                f"agenttts/{self.model_name}: {', '.join(sorted(given))} ignored: the plan says how samples are drawn"
            )


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, str) and any(
        part.type not in {"text", "reasoning"} for part in message.content
    ):
        raise InputError("a plan reads text, and this message holds something else")
    return message.text


def plan_solver(
    plan: str,
    endpoint: str | None,
    *,
    fields: str | Mapping[str, str] | None,
    content: str,
    store: str | None,
    trust: bool,
) -> Solver:
    """Return the solver; see `agenttts.harness.inspect.plan`."""
    model = get_model(f"{KEY}/{plan}", base_url=endpoint, content=content, store=store, trust=trust)
    try:
        reading = Reading.of(cast("PlanModel", model.api).plan, fields)
    except InputError as error:
        raise PrerequisiteError(str(error)) from error

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        chat = [Message(ROLES[one.role], _text(one)) for one in state.messages if one.role in ROLES]
        problem = reading.problem(chat, state.metadata, state.sample_id)
        asked = ChatMessageUser(
            content=json.dumps(dict(problem.fields), ensure_ascii=False, default=str),
            metadata={KEY: {"id": problem.id, "fields": dict(problem.fields)}},
        )
        state.output = await model.generate([asked])
        state.messages.append(state.output.message)
        return state

    return solve
