"""What scoring by models costs stands in quotes, and a card that leaves a total unknown is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.models.embedding_server import embedding_server
from tests.models.local_server import local_server
from tests.test_cli_dead_servers import agenttts, echo, write_task

URL = "http://127.0.0.1:9/v1"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def priced(tmp_path: Path) -> Path:
    """A task whose stages have prices, and whose scorer has a size alone."""
    task = write_task(tmp_path, URL, URL)
    price = "parameters: 1e+6, price: {input_per_million_usd: 1, output_per_million_usd: 1}"
    text = task.read_text()
    for name in ("small", "large"):
        line = next(line for line in text.splitlines() if line.strip().startswith(name))
        text = text.replace(line, line.replace("parameters: 1e+6", price).replace("parameters: 2e+6", price))
    task.write_text(text)
    return task


def test_check_tells_what_scoring_costs(tmp_path: Path) -> None:
    task = write_task(tmp_path, URL, URL)
    done = agenttts("check", task, "--trials", "2")
    assert done.exit_code == 0, done.output
    assert "Scoring by near is in these figures (" in flat(done.stdout)
    told = json.loads(agenttts("check", task, "--trials", "2", "--json").stdout)["quote"]
    assert 0 < told["scoring"]["calls"] < told["expected"]["calls"]


def test_a_scorer_without_a_price_leaves_usd_unknown_and_is_named(priced: Path) -> None:
    words = flat(agenttts("check", priced).stdout)
    assert "USD in all are unknown: no `price` on the card of near, which scores" in words
    told = json.loads(agenttts("check", priced, "--json").stdout)["quote"]
    assert told["expected"]["cost"]["usd"] is None
    assert told["expected"]["cost"]["flops"] > 0


def test_money_for_stages_is_asked_for_all_the_same(priced: Path) -> None:
    done = agenttts("optimize", priced)
    assert done.exit_code == 2, done.output
    assert "USD without scoring, whose price is unknown" in flat(done.output)


def test_the_end_names_the_card_too(priced: Path) -> None:
    with local_server(always=echo) as writer, embedding_server() as scorer:
        text = priced.read_text()
        head, _, tail = text.partition("near: {")
        priced.write_text(head.replace(URL, writer.url) + "near: {" + tail.replace(URL, scorer.url))
        done = agenttts("optimize", priced, "--trials", "2", "--yes")
        assert done.exit_code == 0, done.output
        said = "USD in all are unknown: no `price` on the card of near, which scores"
        assert said in flat(done.stdout)
        plan = next(word for word in done.stdout.split() if word.endswith("plan.yaml"))
        assert said in flat(agenttts("evaluate", plan).stdout)
