"""A plan whose connections stay open, from code that is async or not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agenttts.errors import AgentTTSError, EndpointDownError, InputError, RequestRefusedError
from agenttts.pipeline.bill import bill_of, sum_of_bills, tokens_of
from agenttts.pipeline.plan import PlanAnswer
from tests.models.local_server import completion, error, local_server
from tests.tiny_plan import N_CALLS, PROBLEM, tiny_plan

OTHER = (
    "Mia brings 34 coins. Mon: loses 12. Tue: finds 34. Wed: tries leto. Thu: finds 67. How many coins now?"
)


async def test_an_open_plan_answers_as_the_plan_does():
    plan = tiny_plan()
    alone = await plan.aanswer({"text": PROBLEM})
    async with plan.open() as opened:
        made = await opened.aanswer({"text": PROBLEM})
    assert made == alone


def test_code_that_is_not_async_answers_many_problems_on_one_set_of_connections():
    plan = tiny_plan()
    with plan.open() as opened:
        made = [opened.answer({"text": text}) for text in (PROBLEM, OTHER)]
        clients = opened._clients
        again = opened.answer({"text": PROBLEM})
        assert opened._clients is clients
    assert again == made[0] != made[1]
    assert opened._clients is None
    assert not [thread for thread in threading.enumerate() if thread.name == "agenttts"]


async def test_it_works_inside_a_running_loop_where_answer_of_a_plan_cannot():
    plan = tiny_plan()
    with pytest.raises(InputError, match=r"await plan\.aanswer"):
        plan.answer({"text": PROBLEM})
    with plan.open() as opened:
        assert opened.answer({"text": PROBLEM}).cost.flops


def test_an_answer_outside_of_with_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"with plan\.open\(\) as opened"):
        tiny_plan().open().answer({"text": PROBLEM})


def test_each_problem_keeps_its_place_and_is_told_as_it_ends():
    seen: dict[int, object] = {}
    plan = tiny_plan(n_solve=1)
    with plan.open() as opened:
        made = opened.answer_each(
            [{"text": PROBLEM}, {"text": OTHER}], on_answer=lambda place, answer: seen.update({place: answer})
        )
        assert made == [opened.answer({"text": PROBLEM}), opened.answer({"text": OTHER})]
    assert seen == dict(enumerate(made))


def test_another_seed_draws_anew_and_the_same_seed_draws_the_same():
    with local_server() as server, tiny_plan(n_solve=1, endpoint=server.url).open() as opened:
        first, other, again = (opened.answer({"text": PROBLEM}, seed=seed) for seed in (0, 1, 0))
    assert first == again
    assert first.stages["translate"].answers != other.stages["translate"].answers


def test_a_problem_that_fails_alone_leaves_the_others_their_answers():
    def script(body):
        refused = "Mia" in body["messages"][-1]["content"]
        return error(400, "too long") if refused else completion(body)

    with local_server(script) as server, tiny_plan(n_solve=1, endpoint=server.url).open() as opened:
        made = opened.answer_each([{"text": OTHER}, {"text": PROBLEM}, {"txt": PROBLEM}])
    assert isinstance(made[0], RequestRefusedError)
    assert isinstance(made[1], PlanAnswer)
    assert isinstance(made[2], AgentTTSError)


def test_what_would_fail_all_problems_is_raised():
    with local_server(lambda body: error(401)) as server:
        plan = tiny_plan(n_solve=1, endpoint=server.url)
        with plan.open() as opened, pytest.raises(AgentTTSError) as caught:
            opened.answer_each([{"text": PROBLEM}] * 3)
    assert caught.value.exit_code == EndpointDownError.exit_code


def test_an_error_is_no_cause_of_itself():
    with local_server(lambda body: error(400)) as server:
        plan = tiny_plan(n_solve=1, endpoint=server.url)
        with pytest.raises(RequestRefusedError) as caught:
            plan.answer({"text": PROBLEM})
    seen: list[BaseException] = []
    link: BaseException | None = caught.value
    while link is not None:
        assert link not in seen
        seen.append(link)
        link = link.__cause__ or link.__context__


def test_draws_that_a_store_holds_are_not_paid_for_again(tmp_path):
    store = f"sqlite:///{tmp_path / 'samples.sqlite'}"
    with local_server() as server:
        plan = tiny_plan(n_solve=1, endpoint=server.url)
        made = []
        for _ in range(2):
            with plan.open(store=store) as opened:
                made.append(opened.answer({"text": PROBLEM}))
        assert made[0] == made[1]
        n_once = len(server.bodies)
        with plan.open() as opened:
            opened.answer({"text": PROBLEM})
        assert len(server.bodies) == 2 * n_once


def test_what_still_runs_when_the_plan_is_closed_is_ended():
    started, ended = threading.Event(), threading.Event()

    async def never() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with tiny_plan().open() as opened:
        loop = opened._loop()._loop
        asyncio.run_coroutine_threadsafe(never(), loop)
        assert started.wait(5)
    assert ended.is_set()


def test_the_bill_counts_all_calls_and_adds_up_to_the_cost():
    plan = tiny_plan()
    answer = plan.answer({"text": PROBLEM})
    bill = bill_of(plan, answer)
    assert bill["calls"] == N_CALLS == len(answer.usage)
    tokens = tokens_of(answer)
    assert (
        tokens.prefill
        == sum(charge.usage.prefill_tokens for charge in answer.usage)
        == answer.cost.prefill_tokens
    )
    assert tokens.decode == answer.cost.decode_tokens
    assert bill["tokens"] == {"prefill": tokens.prefill, "decode": tokens.decode}
    translate, solve = bill["stages"]
    assert translate["cost"]["gflops"] + solve["cost"]["gflops"] == pytest.approx(bill["cost"]["gflops"])
    assert translate["tokens"]["decode"] + solve["tokens"]["decode"] == tokens.decode
    assert (solve["stage"], solve["model"], solve["n_samples"], solve["drawn"]) == ("solve", "tiny/l", 4, 4)
    assert bill["cost"]["gflops"] == pytest.approx(answer.cost.flops * 1e-9)
    assert bill["cost"]["usd"] is None


def test_bills_are_summed_and_what_is_unknown_stays_unknown():
    plan = tiny_plan(n_solve=1)
    bill = bill_of(plan, plan.answer({"text": PROBLEM}))
    both = sum_of_bills([bill, bill])
    assert both["answers"] == 2
    assert both["cost"]["gflops"] == 2 * bill["cost"]["gflops"]
    assert both["cost"]["usd"] is None
    assert both["tokens"]["decode"] == 2 * bill["tokens"]["decode"]
    assert sum_of_bills([])["cost"]["gflops"] == 0
