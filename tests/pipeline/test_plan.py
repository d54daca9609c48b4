from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.errors import InputError, PlanError, ProviderError, TrustError
from agenttts.pipeline.base import Allocation, Problem
from agenttts.pipeline.plan import Measured, Plan, Provenance
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

STAGES = {
    "solve": {
        "prompt": {"user": 'Solve:\n  {{ problem.question }}\n\nÜber — "exactly"\n'},
        "models": ["simulated/small"],
        "n_samples": [1, 4],
        "parse": "last_number",
    }
}
MEASURED = Measured(0.61, 0.55, 0.67, 300, 0.95, "bootstrap by problem", "test", 2)


@pytest.fixture
def plan(make_task: Callable[..., Task], choose: Callable[..., Allocation]) -> Plan:
    return Plan(
        task=make_task(STAGES),
        allocation=choose(solve=(4, "majority")),
        budget=Budget(40.0, Unit.GFLOPS),
        measured=MEASURED,
        cost_per_problem=Cost(
            flops=1.5e9, linear_flops=1e9, usd=None, prefill_tokens=12.5, decode_tokens=40, seconds=None
        ),
        provenance=Provenance("curves", 7, 40, Cost(flops=3e12, usd=None, seconds=None), "abc123"),
    )


def test_a_plan_survives_writing_and_reading(plan: Plan, tmp_path: Path) -> None:
    read = Plan.load(plan.save(tmp_path / "run" / "plan.yaml"))
    assert replace(read, task=plan.task, agenttts_version="") == plan
    assert read.task.file == plan.task.file
    assert read.task.cards == plan.task.cards


def test_a_plan_is_ascii_text_for_people(plan: Plan) -> None:
    text = plan.to_yaml()
    assert text.isascii()
    assert text.startswith("# Plan of agenttts for the task test: solve simulated/small x4 majority\n")
    data = yaml.safe_load(text)
    assert data["measured"]["figures_from"] == "simulated models"
    assert data["format"] == 1


def test_prompts_are_kept_to_the_letter(plan: Plan) -> None:
    read = Plan.from_yaml(plan.to_yaml())
    assert read.task.file.stages["solve"].prompt == plan.task.file.stages["solve"].prompt


def test_unknown_costs_stay_unknown(plan: Plan) -> None:
    read = Plan.from_yaml(plan.to_yaml())
    assert read.cost_per_problem is not None
    assert read.cost_per_problem.usd is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: [", "not YAML"),
        ("just text", "not a plan"),
        ("format: 1\ntask: {}\n", "not a plan"),
        ("format: x\ntask: {}\nallocation: []\n", "expected 1"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_yaml(text, name="plan.yaml")


def test_a_newer_format_is_refused_with_the_remedy(plan: Plan) -> None:
    text = plan.to_yaml().replace("format: 1", "format: 2", 1)
    with pytest.raises(PlanError, match="pip install --upgrade agenttts"):
        Plan.from_yaml(text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nosuch"):
        Plan.load(tmp_path / "nosuch.yaml")


def _changed(plan: Plan, change: Callable[[dict[str, Any]], None]) -> str:
    data = yaml.safe_load(plan.to_yaml())
    change(data)
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["allocation"][0].update(stage="other"),
        lambda data: data["allocation"][0].update(model="simulated/nosuch"),
        lambda data: data["allocation"][0].update(select="nosuch"),
        lambda data: data["allocation"][0].update(n_samples=0),
        lambda data: data["allocation"][0].pop("model"),
        lambda data: data.update(allocation=[]),
        lambda data: data.update(allocation=3),
        lambda data: data["budget"].update(unit="apples"),
        lambda data: data.update(task={}),
    ],
)
def test_a_plan_that_does_not_fit_its_task_is_refused(
    plan: Plan, change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(InputError):
        Plan.from_yaml(_changed(plan, change), name="plan.yaml")


async def test_answers_with_scripted_draws(plan: Plan) -> None:
    sampler = ScriptedSampler(lambda request, index: ["1", "42", "42", "x"][index])
    answer = await plan.aanswer({"question": "What is 6 * 7?"}, clients=ScriptedRequests(), sampler=sampler)
    assert answer.answer == "42"
    assert answer.stages["solve"].answers == ("1", "42", "42", None)
    assert answer.usage[0].usage.decode_tokens == (1, 1, 1, 1)
    assert answer.cost.decode_tokens == 4


async def test_a_problem_without_a_needed_field_is_refused(plan: Plan) -> None:
    with pytest.raises(PlanError, match="question"):
        await plan.aanswer(
            {}, clients=ScriptedRequests(), sampler=ScriptedSampler(lambda request, index: "1")
        )


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Return the base URL of a real server that speaks the OpenAI API and always says 42."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": "so 42"},
                        }
                    ],
                    "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_answers_over_http_from_code_that_is_not_async(plan: Plan, endpoint: str) -> None:
    card = ModelCard(name="simulated/small", source="openai", base_url=endpoint, parameters=1e3)
    served = replace(plan, task=replace(plan.task, cards={"simulated/small": card}))
    read = Plan.from_yaml(served.to_yaml())
    answer = read.answer(Problem("p", {"question": "What is 6 * 7?"}))
    assert answer.answer == "42"
    assert answer.text == "so 42"
    assert answer.usage[0].usage.prefill_tokens == 11
    assert answer.cost.flops == 2 * 1e3 * (11 + 4 * 2)


def test_a_dead_endpoint_raises_the_providers_error(plan: Plan) -> None:
    card = ModelCard(
        name="simulated/small", source="openai", base_url="http://127.0.0.1:9/v1", max_attempts=1
    )
    served = replace(plan, task=replace(plan.task, cards={"simulated/small": card}))
    with pytest.raises(ProviderError):
        served.answer({"question": "?"})


def test_functions_of_a_plan_need_trust(
    make_task: Callable[..., Task], choose: Callable[..., Allocation], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text("def f(fields, answers):\n    return 1\n")
    task = make_task({**STAGES, "after": {"function": "own.py:f", "needs": ["solve"]}}, trust=True)
    text = Plan(task, choose(solve=(1, "first"))).to_yaml()
    with pytest.raises(TrustError):
        Plan.from_yaml(text).answer({"question": "?"})


async def test_inside_a_running_loop_the_async_twin_is_named(plan: Plan) -> None:
    with pytest.raises(InputError, match=r"await plan\.aanswer"):
        plan.answer({"question": "?"})


def test_a_problem_that_is_no_mapping_is_refused_with_the_fields_of_the_task(plan: Plan) -> None:
    with pytest.raises(InputError, match=r'mapping of fields such as \{"question": \.\.\.\}, got str'):
        plan.answer("What is 6 * 7?")  # type: ignore[arg-type]


def test_a_misspelt_key_of_a_plan_is_refused_with_the_nearest_name(plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"plan.yaml:\d+: budgt: unknown key.\nDid you mean `budget`\?"):
        Plan.from_yaml(plan.to_yaml().replace("\nbudget:", "\nbudgt:"), name="plan.yaml")


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (
            "  n_samples: 4",
            "  n_sampels: 4",
            r"allocation\.0\.n_sampels: unknown key\.\nDid you mean `n_samples`\?",
        ),
        ("  amount: 40.0", "  amuont: 40.0", r"budget\.amuont: unknown key\.\nDid you mean `amount`\?"),
        ("  mean: 0.61", "  maen: 0.61", r"measured\.maen: unknown key\.\nDid you mean `mean`\?"),
        (
            "  allocator: curves",
            "  alocator: curves",
            r"search\.alocator: unknown key\.\nDid you mean `allocator`\?",
        ),
        ("    flops: 3", "    flop: 3", r"search\.spent\.flop: unknown key\.\nDid you mean `flops`\?"),
        (
            "  search_digest:",
            "  serch_digest:",
            r"task\.serch_digest: unknown key\.\nDid you mean `search_digest`\?",
        ),
    ],
)
def test_unknown_keys_inside_blocks_are_refused_with_their_line(
    plan: Plan, was: str, now: str, said: str
) -> None:
    text = plan.to_yaml()
    assert text.count(was) == 1
    line = text[: text.index(was)].count("\n") + 1
    with pytest.raises(PlanError, match=rf"plan\.yaml:{line}: {said}"):
        Plan.from_yaml(text.replace(was, now), name="plan.yaml")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("stage", "slove", "the task has no stage `slove`. Did you mean `solve`?"),
        (
            "model",
            "simulated/smal",
            "the plan holds no card of `simulated/smal`. Did you mean `simulated/small`?",
        ),
        ("select", "majorty", "no way to select called `majorty`. Did you mean `majority`?"),
    ],
)
def test_names_of_an_allocation_that_are_not_there_are_told_with_the_nearest(
    plan: Plan, key: str, value: str, said: str
) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_yaml(
            _changed(plan, lambda data: data["allocation"][0].update({key: value})), name="plan.yaml"
        )
    assert said in str(caught.value)
    assert str(caught.value).startswith("plan.yaml: allocation")


def test_a_plan_that_was_cut_off_anywhere_is_named_with_its_path(plan: Plan, tmp_path: Path) -> None:
    text = plan.to_yaml()
    path = tmp_path / "cut.yaml"
    last = text.index("  search_digest:")
    for end in range(0, last, last // 60):
        path.write_text(text[:end])
        with pytest.raises(PlanError, match=re.escape(str(path))):
            Plan.load(path)
