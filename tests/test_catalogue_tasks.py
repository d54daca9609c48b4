"""Every task of the catalogue can be checked by its name, on its own sample, without a network."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agenttts.budgets.cost import Unit, total_amount
from agenttts.budgets.cost_model import CostModel
from agenttts.catalogue import catalogue_folder
from agenttts.cli import app
from agenttts.models.base import CallUsage
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

PAGES = Path(__file__).parent.parent / "docs" / "tasks"
TOOL = importlib.util.spec_from_file_location("task_quotes", PAGES.parent.parent / "tools" / "task_quotes.py")
assert TOOL is not None
assert TOOL.loader is not None
task_quotes = importlib.util.module_from_spec(TOOL)
TOOL.loader.exec_module(task_quotes)

SAMPLED = sorted(path.parent.name for path in (catalogue_folder() / "tasks").glob("*/sample"))
PAPER = {
    "2wikimultihopqa": 928.7,
    "hotpotqa": 928.7,
    "cwq": 520.7,
    "webqsp": 474.0,
    "taskbench": 1977.3,
    "chatdev": 1767.3,
}
"""Default budgets in the paper's unit: the sum over stages of one pass of the largest model, lengths of Table 4."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["check", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SAMPLED)
def test_check_quotes_each_task_on_its_sample_as_its_page_says(name: str) -> None:
    told = check(name, "--data", "sample")
    page = PAGES / f"{name}.md"
    of_one_problem = told[told.index("\nspace ") + 1 : told.index("\nQuote for")].strip("\n")
    assert of_one_problem in page.read_text(), "run tools/task_quotes.py"
    assert re.search(r"^expected +[\d,]+ +[\d,]+ +[\d,]+ +[\d,]+", told, re.MULTILINE)


@pytest.mark.parametrize("name", SAMPLED)
def test_check_knows_each_task_s_cost_in_usd(name: str) -> None:
    quote = json.loads(check(name, "--data", "sample", "--json"))["quote"]
    usd = quote["expected"]["cost"]["usd"]
    if (
        name == "chatdev"
    ):  # nobody sells the embeddings that score it, so that the total is unknown and says so
        assert usd is None
        told = " ".join(check(name, "--data", "sample").split())
        assert "no `price` on the card of qwen3-embedding-0.6b, which scores" in told
    else:
        assert usd > 0


@pytest.mark.parametrize("name", PAPER)
def test_pages_quote_a_search_of_the_size_that_the_task_says(name: str, tmp_path: Path) -> None:
    data = task_quotes.full_size(name, tmp_path)
    told = check(name, "--data", str(data))
    assert "Quote for 40 trials on 50 problems and a confirmation on 500 problems:" in told
    table = told[told.index("Quote for") :].partition("\n\n")[0]
    assert table in (PAGES / f"{name}.md").read_text(), "run tools/task_quotes.py"


def test_a_page_tells_what_the_paper_s_protocol_takes(tmp_path: Path) -> None:
    line = task_quotes.protocol("webqsp", task_quotes.full_size("webqsp", tmp_path))
    assert line in (PAGES / "webqsp.md").read_text(), "run tools/task_quotes.py"


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_both_splits_and_no_problem_twice(name: str) -> None:
    task = Task.load(name, data="sample")
    problems = [*task.search, *task.test()]
    assert len(task.search) >= 3
    assert len(task.test()) >= 3
    assert len({json.dumps(problem.fields, sort_keys=True) for problem in problems}) == len(problems)


@pytest.mark.parametrize("name", PAPER)
def test_tasks_of_the_paper_have_its_budget_and_splits(name: str) -> None:
    # As the file says; with `--data` the numbers are those that the sample has.
    file = TaskFile.model_validate(
        yaml.safe_load((catalogue_folder() / "tasks" / name / "task.yaml").read_text())
    )
    assert (str(file.budget.unit), file.budget.default) == ("paper", PAPER[name])
    assert (file.splits.search.n, file.splits.test.n) == (50, 500)
    assert {stage.sampling.temperature for stage in file.stages.values() if stage.models} == {0.9}


@pytest.mark.parametrize("name", ["2wikimultihopqa", "hotpotqa", "cwq", "webqsp"])
def test_the_default_budget_is_one_pass_of_the_largest_model_in_every_stage(name: str) -> None:
    task = Task.load(name, data="sample")
    model = CostModel(task.cards)
    costs = {}
    for stage, block in task.file.stages.items():
        usage = CallUsage(int(block.lengths.prefill_tokens or 0), (int(block.lengths.decode_tokens or 0),))
        costs[stage] = model.charge(block.models[-1], usage)
    assert total_amount(costs, Unit.PAPER) == pytest.approx(PAPER[name], abs=0.05)


@pytest.mark.parametrize("name", ["2wikimultihopqa", "hotpotqa", "cwq", "webqsp"])
def test_data_that_must_be_prepared_are_told_with_the_command(name: str) -> None:
    done = CliRunner().invoke(app, ["check", name])
    assert done.exit_code == 2
    assert f"Run `agenttts data prepare {name}`. To try the task first: --data sample." in " ".join(
        done.stderr.split()
    )
