"""What is told of an answer beside its text: cost, stages, usage. Pure.

Two bills, as everywhere: `cost` is charged (what the pass costs with nothing kept, each prompt read once where the card
shares it), `spent` is what this request really used. `usage` counts the tokens of the latter, over all calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agenttts.budgets.cost import Cost, total
from agenttts.budgets.cost_model import CostModel
from agenttts.pipeline.base import Allocation, StageChoice, StageOutput
from agenttts.pipeline.bill import Tokens, cost_to_json, plain, stage_facts
from agenttts.pipeline.conditions import agreement
from agenttts.serve.bill import Bill
from agenttts.serve.shrink import Fitted

__all__ = ["Content", "Made", "finish_reason", "spent_json", "text_of", "told", "usage_of"]

Content = Literal["text", "answer"]
"""What is sent as content: the whole text of the selected sample, or the answer that was read out of it."""


@dataclass(frozen=True)
class Made:
    """What a plan made of one problem."""

    allocation: Allocation
    outputs: Mapping[str, StageOutput]
    costs: Mapping[str, Cost]
    """Charged, by LLM stage."""
    final: StageOutput
    """Of the stage that the task scores."""
    bill: Bill
    fitted: Fitted | None
    """Where the request set a budget."""


def text_of(output: StageOutput, content: Content) -> str:
    """Return what is sent as content; the answer of a stage without a text (a function) as it stands or as JSON."""
    if content == "text" and output.text:
        return output.text
    if output.answer is None:
        return output.text if content == "text" else ""
    if isinstance(output.answer, str):
        return output.answer
    return json.dumps(output.answer, ensure_ascii=False, default=str)


def finish_reason(output: StageOutput) -> str:
    """Return `length` where every sample hit its limit, else `stop`."""
    plain = output.answers[: output.n_plain]
    return "length" if output.n_runaway and output.n_runaway >= len(plain) else "stop"


def usage_of(bill: Bill) -> dict[str, Any]:
    """Return the tokens of all calls, as OpenAI counts them."""
    prefill, decode = bill.tokens()
    return {
        "prompt_tokens": prefill,
        "completion_tokens": decode,
        "total_tokens": prefill + decode,
        "prompt_tokens_details": {"cached_tokens": bill.cached_tokens},
    }


def spent_json(bill: Bill, cost_model: CostModel) -> dict[str, Any]:
    """Return what was really used."""
    return {
        **cost_to_json(bill.cost(cost_model)),
        "calls": len(bill.calls),
        "draws_paid": bill.n_paid,
        "draws_reused": bill.n_reused,
    }


def told(made: Made, cost_model: CostModel, ignored: tuple[str, ...], took_s: float) -> dict[str, Any]:
    """Return the field `agenttts` of a reply."""
    fitted = made.fitted
    return {
        "answer": plain(made.final.answer),
        "allocation": str(made.allocation),
        "cost": cost_to_json(total(made.costs.values())),
        "spent": spent_json(made.bill, cost_model),
        "stages": [
            _stage(name, output, _choice(made.allocation, name), made)
            for name, output in made.outputs.items()
        ],
        "budget": None
        if fitted is None
        else {
            "amount": fitted.budget.amount,
            "unit": fitted.budget.unit.value,
            "expected": fitted.expected,
            "changes": fitted.changes,
        },
        "ignored": list(ignored),
        "seconds": round(took_s, 4),
    }


def _choice(allocation: Allocation, stage: str) -> StageChoice | None:
    return next((choice for choice in allocation.choices if choice.stage == stage), None)


def _stage(name: str, output: StageOutput, choice: StageChoice | None, made: Made) -> dict[str, Any]:
    """Return what one stage did; of a function or a test only its name and answer."""
    if choice is None:
        return {"stage": name, "answer": plain(output.answer)}
    prefill, decode = made.bill.tokens(name)
    return {
        "stage": name,
        **stage_facts(output, choice),
        "agreement": round(agreement(output), 6),
        "score": _score(output),
        "cost": cost_to_json(made.costs.get(name, Cost())),
        "tokens": Tokens(prefill, decode).to_json(),
    }


def _score(output: StageOutput) -> float | None:
    """Return what the verifier gave the selected sample; `None`: nothing, or there is none."""
    if output.selected is None or output.selected >= len(output.verifier_scores):
        return None
    return output.verifier_scores[output.selected]
