"""A plan as a model of lm-evaluation-harness.

Each request runs the whole plan. Only tasks that generate can be asked: a plan answers in text and gives no
log-likelihoods. How samples are drawn is the plan's, so `temperature` and such of a task have no effect; `until` cuts
the text as for every model there. A provider that fails ends the evaluation, after all other requests, rather than
counting as a wrong answer.

What it cost stands in the results, at `config.agenttts`; with `log=FILE`, of every request in a file of JSON lines.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lm_eval.models  # noqa: F401 - the harness loads its own models only while none at all is registered
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from agenttts.errors import AgentTTSError
from agenttts.harness.plans import Reading, check_content, find_plan, reply_text
from agenttts.models.base import Message
from agenttts.pipeline.bill import bill_of, sum_of_bills
from agenttts.pipeline.plan import Plan, PlanAnswer

__all__ = ["AgentttsLM"]

NO_LIKELIHOOD = (
    "agenttts: {what} is not there: a plan answers in text and gives no log-likelihoods. Tasks whose output_type is "
    "generate_until fit (gsm8k, minerva_math, ifeval, humaneval, ...); multiple_choice, loglikelihood and "
    "loglikelihood_rolling do not. Many tasks of multiple choice have a form that generates, e.g. mmlu_generative."
)
ROLES = frozenset({"system", "user", "assistant"})


@register_model("agenttts")  # type: ignore[untyped-decorator, unused-ignore]
class AgentttsLM(LM):  # type: ignore[misc]
    """A plan as a model; see the module.

    Args:
        plan: A plan, the path of one or of a run's folder, or the name of a run.
        fields: Where the fields of a problem are, e.g. `question:user;context:row.passages`; `row` is the document of
            the task. Without it, a plan that reads a single field gets the prompt of the task; one that reads several
            gets the document's columns of these names, and the prompt for a single one that is missing there.
        content: `text` of the selected sample, or the `answer` that was read out of it.
        endpoint: Ask the models of stages at this OpenAI-compatible base URL; scorers and planner stay where their cards say.
        concurrency: Requests worked on at a time.
        store: Database URL that keeps draws, so that a repeated evaluation pays for nothing twice.
        trust: Allow the Python functions that the plan's task names to run.
        log: File that gets a line of JSON for every request: task, document, answer, cost, stages.
        unused: `batch_size`, `max_batch_size` and `device`, which the harness hands to every model.

    Raises:
        InputError: The plan, or an option, cannot be used.
    """

    def __init__(
        self,
        plan: Plan | str | Path,
        *,
        fields: str | Mapping[str, str] | None = None,
        content: str = "text",
        endpoint: str | None = None,
        concurrency: int = 32,
        store: str | None = None,
        trust: bool = False,
        log: str | Path | None = None,
        **unused: Any,
    ) -> None:
        super().__init__()
        if unknown := set(unused) - {"batch_size", "max_batch_size", "device"}:
            raise TypeError(f"unknown model arguments: {', '.join(sorted(unknown))}")
        check_content(content)
        self.plan = plan if isinstance(plan, Plan) else find_plan(plan, trust=trust, endpoint=endpoint)
        self._reading = Reading.of(self.plan, fields)
        self._content = content
        self._concurrency = int(concurrency)
        self._store = store
        self._log = None if log is None else Path(log)
        self._bills: list[tuple[str, dict[str, Any]]] = []

    # --- what the harness asks

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return a text for each request, in order; repeats of one are independent draws.

        Raises:
            AgentTTSError: Requests got no answer; the others were answered first, for the cache of the harness.
        """
        texts: list[str] = [""] * len(requests)
        failed: list[AgentTTSError] = []
        problems = [self._problem(request) for request in requests]
        seeds = _repeats(requests)
        with (
            self.plan.open(store=self._store) as opened,
            tqdm(total=len(requests), desc="Running the plan", disable=disable_tqdm) as bar,
        ):

            def ended(place: int, answer: PlanAnswer | AgentTTSError) -> None:
                bar.update(1)
                if isinstance(answer, AgentTTSError):
                    failed.append(answer)
                    return
                texts[place] = self._text(requests[place], answer)
                self._keep(requests[place], seeds[place], answer)
                self.cache_hook.add_partial("generate_until", requests[place].args, texts[place])

            opened.answer_each(problems, seeds=seeds, concurrency=self._concurrency, on_answer=ended)
        if failed:
            failed[0].add_note(_remedy(len(failed), len(requests)))
            raise failed[0]
        return texts

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        """Refuse: a plan gives none."""
        raise NotImplementedError(NO_LIKELIHOOD.format(what="loglikelihood"))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> NoReturn:
        """Refuse: a plan gives none."""
        raise NotImplementedError(NO_LIKELIHOOD.format(what="loglikelihood_rolling"))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the conversation as JSON, which `generate_until` reads back."""
        return json.dumps(chat_history, ensure_ascii=False)

    @property
    def tokenizer_name(self) -> str:
        """Name in the harness's cache of requests."""
        return "agenttts"

    def get_model_info(self) -> dict[str, Any]:
        """Return what the results say of the model: the plan, and what it cost so far, all together and by task."""
        tasks = dict.fromkeys(task for task, _ in self._bills)
        return {
            "agenttts": {
                "task": self.plan.task.file.name,
                "allocation": str(self.plan.allocation),
                "figures_from": self.plan.figures_from,
                **sum_of_bills([bill for _, bill in self._bills]),
                "by_task": {
                    task: sum_of_bills([bill for its, bill in self._bills if its == task]) for task in tasks
                },
            }
        }

    # --- helpers

    def _problem(self, request: Any) -> Any:
        row = request.doc if isinstance(request.doc, Mapping) else None
        return self._reading.problem(_chat(request.args[0]), row, request.doc_id)

    def _text(self, request: Any, answer: PlanAnswer) -> str:
        return cut(reply_text(self.plan, answer, self._content), request.args[1].get("until"))

    def _keep(self, request: Any, repeat: int, answer: PlanAnswer) -> None:
        bill = bill_of(self.plan, answer)
        task = str(request.task_name)
        self._bills.append((task, bill))
        if self._log is not None:
            where = {"task": task, "doc_id": request.doc_id, "repeat": repeat}
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(where | bill) + "\n")


def cut(text: str, until: str | Sequence[str] | None) -> str:
    """Return a text up to the first of the stops, as the harness has it for all models; empty stops count for nothing."""
    stops = [until] if isinstance(until, str) else list(until or ())
    for stop in stops:
        if stop:
            text = text.partition(stop)[0]
    return text


def _chat(context: str) -> list[Message]:
    """Return the conversation that a prompt is: what `apply_chat_template` made, or all of it from the user."""
    try:
        data = json.loads(context)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, list) and data and all(_is_message(one) for one in data):
        return [Message(one["role"], one["content"]) for one in data]
    return [Message("user", context)]


def _is_message(one: object) -> bool:
    return (
        isinstance(one, dict)
        and set(one) >= {"role", "content"}
        and one["role"] in ROLES
        and isinstance(one["content"], str)
    )


def _repeats(requests: Sequence[Any]) -> list[int]:
    """Return how often each request stands before itself: the harness repeats one that is to be drawn several times."""
    seen: Counter[int] = Counter()
    found = []
    for request in requests:
        found.append(seen[id(request)])
        seen[id(request)] += 1
    return found


def _remedy(n_failed: int, n: int) -> str:
    return (
        f"{n_failed} of {n} requests got no answer, so there is no result: a failed call is not a wrong answer. "
        "With --use_cache FILE or store=sqlite:///FILE what was answered is kept, and the same command goes on from it."
    )
