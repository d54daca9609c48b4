"""The planner model of a study: what it is told of the task, how it is asked, and what asking may cost.

What is asked, and what is made of the answers, is the allocator's affair. Here a call becomes a draw like any other:
kept in the store, so that a run that is resumed asks nothing twice, and paid for from the ledger. Whatever goes wrong
becomes an answer without text: a planner may fail, a run may not fail for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agenttts.allocators.base import (
    AllocatorOptions,
    Briefing,
    Conversation,
    Insight,
    PlannerAnswer,
    PlannerCall,
    Sketch,
    StageBriefing,
    Turn,
)
from agenttts.budgets.cost import Budget, Cost, amount
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import AgentTTSError, RunError, SearchBudgetExhausted, StoreError
from agenttts.models.base import CallUsage, SamplingParameters
from agenttts.models.sampler import Ledger, Reservation, StoredSampler

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.clients import Clients
    from agenttts.store.base import PaidCall, SampleStore
    from agenttts.study.result import PlannerUse, StudyOptions
    from agenttts.task.schema import PlannerBlock
    from agenttts.task.task import Task

__all__ = [
    "Ask",
    "Asker",
    "PlannerBill",
    "PlannerSetup",
    "Tally",
    "allocator_options",
    "briefing",
    "converse",
    "planner_use",
    "require_planner",
    "turn_from_json",
    "turn_to_json",
]

PURPOSE = "planner"
MOST_CHARACTERS = 200_000
"""Of a reply that an allocator is handed; the store has all of it."""
MOST_PURPOSE = 400
"""Characters of a stage's prompt that a planner is shown."""

Ask = Callable[[PlannerCall], Awaitable[PlannerAnswer]]


@dataclass(frozen=True, kw_only=True)
class PlannerSetup:
    """Which model is asked, and within which limits."""

    card: ModelCard
    deadline_s: float
    """Of one call with all its attempts."""
    budget: Budget | None = None
    """The most that all calls of the study to it may cost together; `None`: the search budget alone limits them."""
    temperature: float | None = 0.7
    """`None`: not sent, for endpoints that refuse it."""
    max_tokens: int | None = None
    """Of one reply; `None`: as the allocator asks for."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request, sent as they are."""
    seed: int = 0

    @classmethod
    def of(
        cls,
        card: ModelCard,
        block: PlannerBlock | None,
        *,
        budget: Budget | None,
        deadline_s: float,
        seed: int,
    ) -> PlannerSetup:
        """Return the setup of a study: what the task says of its planner, and the study's options."""
        said = {} if block is None else block.model_dump(include={"temperature", "max_tokens", "extra"})
        return cls(card=card, budget=budget, deadline_s=deadline_s, seed=seed, **said)

    def sampling(self, call: PlannerCall) -> SamplingParameters:
        """Return how a call is drawn. The schema is sent along where the card says that the endpoint takes one."""
        extra = dict(self.extra)
        if call.schema is not None and self.card.supports_json_schema:
            form = {"name": "reply", "schema": dict(call.schema)}
            extra.setdefault("response_format", {"type": "json_schema", "json_schema": form})
        if self.temperature is None:
            extra.setdefault("temperature", None)
        return SamplingParameters(
            temperature=0.0 if self.temperature is None else self.temperature,
            max_tokens=self.max_tokens or call.max_tokens,
            seed=self.seed,
            extra=tuple(sorted((name, json.dumps(value, sort_keys=True)) for name, value in extra.items())),
        )


class _CappedLedger:
    """The study's ledger, behind one for the planner alone, which adds up its calls and may have a cap."""

    def __init__(self, ledger: Ledger, own: SpendingLedger, cost_model: CostModel) -> None:
        self._ledger = ledger
        self._own = own
        self._cost_model = cost_model

    async def reserve(self, model: str, worst: CallUsage, *, purpose: str = "draw") -> Reservation:
        """See `Ledger.reserve`."""
        try:
            own = await self._own.reserve(model, worst, purpose=purpose)
        except SearchBudgetExhausted as error:
            raise SearchBudgetExhausted(self._refusal(model, worst)) from error
        try:
            shared = await self._ledger.reserve(model, worst, purpose=purpose)
        except BaseException:
            own.settle(None)
            raise
        return _Both(own, shared)

    def _refusal(self, model: str, worst: CallUsage) -> str:
        cap = self._own.cap
        if cap is None:
            return "the planner's call was refused"
        needed = Budget(amount(self._cost_model.charge(model, worst), cap.unit), cap.unit)
        spent = Budget(amount(self._own.spent, cap.unit), cap.unit)
        return f"the next call may need {needed}; the planner's budget is {cap}, of which {spent} are spent"


@dataclass(frozen=True)
class _Both:
    """A reservation on both ledgers."""

    own: Reservation
    shared: Reservation

    def settle(self, usage: CallUsage | None) -> None:
        """See `Reservation.settle`."""
        self.own.settle(usage)
        self.shared.settle(usage)


@dataclass(frozen=True)
class PlannerBill:
    """What a planner was paid for."""

    calls: int
    """Requests that were billed, those without a usable reply included."""
    spent: Cost

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"calls": self.calls, "spent": asdict(self.spent)}


class Asker:
    """Asks the planner model of one session. Its clients are its own: that it is down tells nothing of the task's."""

    def __init__(
        self, setup: PlannerSetup, clients: Clients, sampler: StoredSampler, own: SpendingLedger
    ) -> None:
        self._setup = setup
        self._own = own
        self._clients = clients
        self._sampler = sampler

    @classmethod
    def build(
        cls,
        setup: PlannerSetup,
        clients: Clients,
        store: SampleStore,
        ledger: Ledger,
        study_id: str,
        paid: Iterable[PaidCall],
    ) -> Asker:
        """Return the asker of a session.

        Args:
            setup: Whom to ask.
            clients: For the planner alone.
            store: Where replies are kept.
            ledger: The study's.
            study_id: Whom calls are billed to.
            paid: What the study has paid for already.

        Raises:
            CardError: The card lacks what the unit of the planner's budget needs.
        """
        from agenttts.budgets.cost_model import CostModel

        # Of the planner's card alone: its cap says nothing about the models of the task.
        cost_model = CostModel({setup.card.name: setup.card})
        asked = [call for call in paid if call.purpose == PURPOSE and call.model == setup.card.name]
        own = SpendingLedger(cost_model, setup.budget, asked, nothing=Cost())
        both = _CappedLedger(ledger, own, cost_model)
        return cls(setup, clients, StoredSampler(clients, store, both, study_id), own)

    @property
    def bill(self) -> PlannerBill:
        """What asking has cost the study so far, over all its runs."""
        return PlannerBill(self._own.n_calls, self._own.spent)

    async def ask(self, call: PlannerCall) -> PlannerAnswer:
        """Return the reply, or why there is none. Equal calls get the same reply.

        Raises:
            StoreError: The store cannot be used; draws would fail as well.
        """
        before = self._own.spent
        answer = await self._answer(call)
        after = self._own.spent
        # Attempts that were billed and brought nothing count too; a reply out of the store is billed nothing.
        return replace(
            answer,
            prefill_tokens=max(answer.prefill_tokens, round(after.prefill_tokens - before.prefill_tokens)),
            decode_tokens=max(answer.decode_tokens, round(after.decode_tokens - before.decode_tokens)),
        )

    async def _answer(self, call: PlannerCall) -> PlannerAnswer:
        try:
            async with asyncio.timeout(self._setup.deadline_s):
                return await self._ask(call)
        except TimeoutError:
            return PlannerAnswer(None, f"no reply within {self._setup.deadline_s:g} s")
        except (StoreError, RunError):
            raise
        except SearchBudgetExhausted as error:
            return PlannerAnswer(None, f"not asked: {_first_line(error)}", asked=False)
        except AgentTTSError as error:
            return PlannerAnswer(None, f"{type(error).__name__}: {_first_line(error)}")

    async def _ask(self, call: PlannerCall) -> PlannerAnswer:
        request = self._clients.request(
            self._setup.card.name,
            call.messages,
            self._setup.sampling(call),
            stage=PURPOSE,
            problem_id=PURPOSE,
        )
        drawn = await self._sampler.sample(request, 1, purpose=PURPOSE)
        sample = drawn.samples[0]
        answer = PlannerAnswer(
            sample.text[:MOST_CHARACTERS],
            prefill_tokens=sample.prefill_tokens,
            decode_tokens=sample.decode_tokens,
        )
        if sample.text.strip():
            return answer
        refusal = sample.details.get("refusal")
        why = f"it refused: {refusal}" if refusal else f"the reply is empty ({sample.finish_reason})"
        return replace(answer, text=None, problem=why[:300])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]


@dataclass
class Tally:
    """What the calls of one round took."""

    calls: int = 0
    failed: int = 0
    """Calls that brought no text."""
    refused: int = 0
    """Calls that were not made, because a budget did not cover them."""
    prefill_tokens: int = 0
    decode_tokens: int = 0
    problems: list[str] = field(default_factory=list)
    """Why they brought none."""

    def count(self, answer: PlannerAnswer) -> None:
        """Take in one answer."""
        self.calls += answer.asked
        self.refused += not answer.asked
        self.prefill_tokens += answer.prefill_tokens
        self.decode_tokens += answer.decode_tokens
        if answer.text is None:
            self.failed += answer.asked
            self.problems.append(answer.problem)


async def converse(conversation: Conversation, ask: Ask | None) -> tuple[Turn, Tally]:
    """Hold a conversation to its end; without anybody to ask, every call stays unanswered."""
    tally = Tally()
    try:
        call = next(conversation)
        while True:
            nobody = PlannerAnswer(None, "no planner model is set", asked=False)
            answer = nobody if ask is None else await ask(call)
            tally.count(answer)
            call = conversation.send(answer)
    except StopIteration as end:
        turn: Turn = end.value
        return turn, tally
    finally:
        conversation.close()


def require_planner(options: StudyOptions) -> None:
    """Check that the planner's card can be billed in the units of the budgets that its calls count against.

    Raises:
        CardError: It cannot; the message names the card and the key to add.
        InputError: A planner's budget in unit `paper`, which cannot add up calls.
    """
    from agenttts.budgets.cost_model import CostModel

    if options.planner is None:
        return
    cost_model = CostModel({options.planner.name: options.planner})
    for cap in (options.planner_budget, options.search_budget):
        SpendingLedger(cost_model, cap)


def planner_use(
    card: ModelCard | None, rounds: Iterable[Mapping[str, Any]], bill: Mapping[str, Any] | None = None
) -> PlannerUse | None:
    """Return what asking took; `None` where nobody was to be asked.

    Args:
        card: Of the planner.
        rounds: Of the log; they tell how calls ended.
        bill: The last `PlannerBill` of the log: it knows the calls of a round that was cut off. `None`: an older log.
    """
    from agenttts.study.result import PlannerUse

    if card is None:
        return None
    asked = [event for event in rounds if "planner" in event]
    counts = {
        name: sum(int(event["planner"].get(name, 0)) for event in asked)
        for name in ("calls", "failed", "refused", "prefill_tokens", "decode_tokens")
    }
    spent = None
    if bill is not None:
        spent = Cost(**bill["spent"])
        counts["calls"] = max(counts["calls"], int(bill["calls"]))
        counts["prefill_tokens"] = round(spent.prefill_tokens)
        counts["decode_tokens"] = round(spent.decode_tokens)
    notes = dict.fromkeys(note for event in asked for note in event["notes"])
    return PlannerUse(model=card.name, **counts, spent=spent, notes=tuple(notes))


def turn_to_json(turn: Turn, tally: Tally) -> dict[str, Any]:
    """Return what the log keeps of a conversation, as plain data; proposals are kept apart."""
    # Written out and read again, so that a round in memory is the same as one from the log.
    kept: dict[str, Any] = json.loads(
        json.dumps(
            {
                "insights": [asdict(insight) for insight in turn.insights],
                "sketches": [asdict(sketch) for sketch in turn.sketches],
                "notes": list(turn.notes),
                "memory": dict(turn.memory),
                "planner": asdict(tally),
            }
        )
    )
    return kept


def turn_from_json(data: Mapping[str, Any]) -> tuple[list[Insight], list[Sketch], dict[str, Any]]:
    """Read the insights, sketches and memory of a round's event; see `turn_to_json`."""
    insights = [Insight(**{**entry, "trials": tuple(entry["trials"])}) for entry in data["insights"]]
    return insights, [Sketch(**entry) for entry in data["sketches"]], dict(data["memory"])


# --- what an allocator is told of the task --------------------------------------------------------------------------


def allocator_options(task: Task, options: StudyOptions) -> AllocatorOptions:
    """Return what the maker of a study's allocator may use."""
    return AllocatorOptions(briefing(task), options.planner_prompts, options.switches)


def briefing(task: Task) -> Briefing:
    """Return what a planner may know of a task: its file and its cards. No problem of any split is in it."""
    file = task.file
    return Briefing(
        task=file.name,
        description=file.description,
        metric=f"{file.score.verifier.kind} score of the answer of stage {task.scored_stage}, mean over problems",
        stages=tuple(_stage(task, name) for name in task.llm_stages),
    )


def _stage(task: Task, name: str) -> StageBriefing:
    block = task.file.stages[name]
    prompt = block.prompt
    text = "" if prompt is None else "\n".join(part for part in (prompt.system, prompt.user) if part)
    return StageBriefing(
        name=name,
        purpose=text[:MOST_PURPOSE],
        models={model: _about(task.cards[model]) for model in block.variants if model in task.cards},
        prefill_tokens=block.lengths.prefill_tokens,
        decode_tokens=block.lengths.decode_tokens,
    )


def _about(card: ModelCard) -> str:
    facts = []
    if card.n_active is not None:
        facts.append(f"{_short(card.n_active)} parameters" + (" active" if card.active_parameters else ""))
    if card.price is not None:
        price = card.price
        facts.append(
            f"{price.input_per_million_usd:g}/{price.output_per_million_usd:g} USD per million tokens in/out"
        )
    return ", ".join(facts)


def _short(n: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= unit:
            return f"{n / unit:.3g}{letter}"
    return f"{n:.3g}"
