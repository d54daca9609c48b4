from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from agenttts.errors import DataError, RecordedMissError
from agenttts.models.base import Message, Request, Sample, SamplingParameters
from agenttts.models.clients import Clients, endpoint_of
from agenttts.models.recorded import RecordedCell, load_recording
from tests.models.conftest import card

TABLE = """stage,model,problem_id,sample_index,text,prefill_tokens,decode_tokens,score,tokens_estimated
solve,m,p1,0,four,9,2,1,0
solve,m,p1,1,five,9,3,0,1
solve,m,p1,2,six,9,4,,0
solve,m,p2,0,two,8,2,1,0
solve,m,p2,1,two,8,2,1,0
plan,big,p1,0,first,8,2,,0
"""


def write(folder: Path, text: str, name: str = "draws.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def clients_of(path: Path, **fields: str) -> Clients:
    return Clients({"m": card(source="recorded", table=str(path), **fields)})


def wanted(clients: Clients, stage: str = "solve", problem_id: str = "p1", prompt: str = "q") -> Request:
    return clients.request(
        "m", [Message("user", prompt)], SamplingParameters(), stage=stage, problem_id=problem_id
    )


async def draw(clients: Clients, first: int, n: int, **where: str) -> list[Sample]:
    return await clients.client("m").draw(wanted(clients, **where), first, n)


@pytest.mark.parametrize("name", ["draws.csv", "draws.csv.gz"])
async def test_draws_come_back_as_recorded(tmp_path: Path, name: str) -> None:
    samples = await draw(clients_of(write(tmp_path, TABLE, name)), 0, 3)
    assert [sample.text for sample in samples] == ["four", "five", "six"]
    assert [(s.prefill_tokens, s.decode_tokens) for s in samples] == [(9, 2), (9, 3), (9, 4)]
    assert [s.counted_by for s in samples] == ["recorded", "recorded, estimated", "recorded"]
    assert [dict(s.details) for s in samples] == [{"recorded_score": 1.0}, {"recorded_score": 0.0}, {}]


async def test_parquet_holds_the_same(tmp_path: Path) -> None:
    import pandas as pd

    pd.read_csv(write(tmp_path, TABLE)).to_parquet(tmp_path / "draws.parquet")
    assert await draw(clients_of(tmp_path / "draws.parquet"), 0, 3) == await draw(
        clients_of(tmp_path / "draws.csv"), 0, 3
    )


@pytest.mark.parametrize(
    ("where", "n", "said"),
    [
        ({}, 4, "draws 0-2"),
        ({"problem_id": "p3"}, 1, "2 problems are, e.g. p1, p2"),
        ({"stage": "check"}, 1, "recorded are solve, plan"),
        ({"stage": "plan"}, 1, "recorded are big"),
    ],
)
async def test_a_miss_is_an_error_that_says_what_is_recorded(
    tmp_path: Path, where: dict[str, str], n: int, said: str
) -> None:
    with pytest.raises(RecordedMissError, match=said):
        await draw(clients_of(write(tmp_path, TABLE)), 0, n, **where)


async def test_a_prompt_column_is_part_of_the_cell(tmp_path: Path) -> None:
    table = "stage,model,problem_id,prompt,sample_index,text\nsolve,m,p1,q,0,to q\nsolve,m,p1,r,0,to r\n"
    clients = clients_of(write(tmp_path, table))
    assert [(await draw(clients, 0, 1, prompt=prompt))[0].text for prompt in "qr"] == ["to q", "to r"]
    with pytest.raises(RecordedMissError, match="other prompts"):
        await draw(clients, 0, 1, prompt="s")


async def test_columns_of_replay_tables_are_known(tmp_path: Path) -> None:
    table = (
        "stage,model,variant,example_id,sample_index,answer,prompt_tokens,completion_tokens\n"
        "solve,m,full,p1,0,42,7,1000\nsolve,m,full,p1,1,,7,900\n"
    )
    clients = clients_of(write(tmp_path, table))
    samples = await draw(clients, 0, 2)
    assert [(s.text, s.prefill_tokens, s.decode_tokens) for s in samples] == [("42", 7, 1000), ("", 7, 900)]
    assert samples[0].details == {"recorded_answer": "42"}


async def test_several_variants_must_be_told_apart(tmp_path: Path) -> None:
    table = "stage,model,variant,problem_id,sample_index,text\nsolve,m,a,p1,0,x\nsolve,m,b,p1,0,y\n"
    path = write(tmp_path, table)
    with pytest.raises(RecordedMissError, match="m@a, m@b"):
        await draw(clients_of(path), 0, 1)
    assert (await draw(clients_of(path, model_id="m@b"), 0, 1))[0].text == "y"


async def test_unknown_tokens_are_counted_from_the_text_or_refused(tmp_path: Path) -> None:
    header = "stage,model,problem_id,sample_index"
    clients = clients_of(write(tmp_path, f"{header},text\nsolve,m,p1,0,12345678\n"))
    (sample,) = await draw(clients, 0, 1)
    assert (sample.prefill_tokens, sample.decode_tokens, sample.counted_by) == (1, 2, "chars/4")
    with pytest.raises(DataError, match="decode_tokens"):
        await draw(clients_of(write(tmp_path, f"{header},answer\nsolve,m,p1,0,4\n", "b.csv")), 0, 1)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE + "solve,m,p1,0,again,1,1,,0\n", r"row 8: draw 0 of problem 'p1'.*twice"),
        ("stage,model,text\nsolve,m,x\n", "problem_id, sample_index"),
        ("stage,model,problem_id,sample_index,text\nsolve,m,p,x,y\n", "row 2"),
        ("stage,model,problem_id,sample_index,text\nsolve,m,p,-1,y\n", "whole number"),
        ("stage,model,problem_id,sample_index,text\nsolve,m,p\n", "3 fields"),
    ],
)
def test_a_table_with_a_mistake_is_refused(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_recording(write(tmp_path, table))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        load_recording(tmp_path / "nowhere.csv")


def test_what_is_recorded_can_be_listed(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    assert load_recording(path).cells() == [
        RecordedCell("solve", "m", 2, 2, 3),
        RecordedCell("plan", "big", 1, 1, 1),
    ]
    clients = clients_of(path)
    assert (clients.max_recorded("solve", "m"), clients.max_recorded("plan", "m")) == (2, 0)


def test_streams_of_other_tables_and_problems_are_others(tmp_path: Path) -> None:
    clients = clients_of(write(tmp_path, TABLE))
    keys = {wanted(clients, problem_id=problem).key for problem in ("p1", "p2")}
    keys.add(wanted(clients_of(write(tmp_path, TABLE.replace("six", "9"), "b.csv"))).key)
    assert len(keys) == 3
    assert endpoint_of(card(source="recorded", table=str(tmp_path / "draws.csv"))).startswith("recorded:")


@pytest.mark.skipif(
    "AGENTTTS_REPLAY" not in os.environ, reason="AGENTTTS_REPLAY names no folder of replay tables"
)
async def test_replay_tables_load() -> None:
    path = Path(os.environ["AGENTTTS_REPLAY"]) / "aime24_qwen3.csv.gz"
    clients = clients_of(path, model_id="Qwen3-4B@full")
    assert clients.max_recorded("solve", "m") == 128
    samples = await draw(clients, 0, 128, problem_id="aime24-00")
    assert len(samples) == 128
    assert all(sample.decode_tokens > 0 for sample in samples)
