"""What the README shows works as shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent
from typing import get_args

import pytest
import yaml

from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.stages import FunctionStage
from agenttts.task.data import Row, Table
from agenttts.task.fields import with_fields
from agenttts.task.schema import DataBlock, SelectBlock, VerifierBlock
from agenttts.task.task import Task
from tests.snippets import ROOT, commands, texts, understand
from tests.tiny_plan import PROBLEM, save_tiny_plan

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return texts(README, language)


def all_commands() -> list[list[str]]:
    return [arguments for block in blocks("console") for arguments in commands(block)]


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """The README's task, with data of the form that it describes."""
    rows = [{"id": str(i), "question": f"{i} + {i}", "answer": 2 * i} for i in range(100)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "task.yaml"
    path.write_text(next(block for block in blocks("yaml") if block.startswith("# task.yaml")))
    return path


def test_the_complete_task_is_complete(task_file):
    task = Task.load(task_file)
    assert len(task.search) == 40
    assert task.llm_stages == ("think", "check")


def test_the_function_stage_fits_into_that_task_and_runs(task_file):
    stage = next(block for block in blocks("yaml") if "function: steps.py" in block)
    code = next(block for block in blocks("python") if block.startswith("# steps.py"))
    (task_file.parent / "steps.py").write_text(code)
    data = yaml.safe_load(task_file.read_text())
    data["stages"] |= yaml.safe_load(stage)
    task_file.write_text(yaml.safe_dump(data, sort_keys=False))
    merge = Pipeline.build(Task.load(task_file, trust=True)).stages[-1]
    assert isinstance(merge, FunctionStage)
    assert merge.function({"question": "1 + 1"}, {"think": 2.0, "check": None}) == 2.0


def test_the_test_stage_and_the_measure_fit_into_that_task(task_file):
    stages = next(block for block in blocks("yaml") if "    test: {stage: think" in block)
    measures = next(block for block in blocks("yaml") if block.startswith("measures:"))
    data = yaml.safe_load(task_file.read_text())
    data["stages"] |= yaml.safe_load(stages)
    data |= yaml.safe_load(measures)
    data["score"]["stage"] = "mend"
    task_file.write_text(yaml.safe_dump(data, sort_keys=False))
    task = Task.load(task_file)
    assert task.llm_stages == ("think", "check", "mend")
    assert task.file.passed_on("mend") == "think"
    assert list(Pipeline.build(task).measures) == ["f1"]


def test_the_cards_of_the_live_endpoint_fit_into_that_task(task_file):
    block = next(block for block in blocks("yaml") if block.startswith("# in task.yaml"))
    assert len(block.splitlines()) <= 12
    data = yaml.safe_load(task_file.read_text())
    data["models"] |= yaml.safe_load(block)["models"]
    task_file.write_text(yaml.safe_dump(data, sort_keys=False))
    card = Task.load(task_file).cards["small"]
    assert (card.source, card.api_key_env, card.served_as) == ("openai", "MY_KEY", "tiny/s")


@pytest.mark.parametrize("arguments", all_commands(), ids=" ".join)
def test_every_command_line_is_understood(arguments):
    understand(arguments)


def test_a_misspelt_option_would_not_be_understood():
    with pytest.raises(Exception, match="bugdet"):
        understand(["optimize", "tiny", "--bugdet", "1"])


def test_the_python_example_runs(tmp_path):
    (example,) = [block for block in blocks("python") if block.startswith("import agenttts")]
    assert len(example.splitlines()) <= 6
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "translate tiny" in done.stdout


def test_a_plan_goes_into_loops_as_shown(tmp_path, monkeypatch, capsys):
    save_tiny_plan(tmp_path / "runs" / "x")
    monkeypatch.chdir(tmp_path)
    loops = [block for block in blocks("python") if block.startswith("from agenttts import Plan")]
    assert [len(loop.splitlines()) for loop in loops] == [5, 5]
    for loop in loops:
        code = loop.replace("<run>", "x")
        if "async" in loop:
            code = f"import asyncio\nasync def main():\n{indent(code, '    ')}\nasyncio.run(main())"
        exec(code, {"problems": [{"text": PROBLEM}] * 2})  # noqa: S102 - the README's own
    said = capsys.readouterr().out.splitlines()
    assert said[0] == said[1] == "27"
    assert [line.partition("(")[0] for line in said[2:]] == ["PlanAnswer"] * 2


def test_every_selector_and_verifier_is_named():
    text = README.partition("## Write a task")[2].partition("\n## ")[0]
    for block in (SelectBlock, VerifierBlock):
        for kind in get_args(block.model_fields["kind"].annotation):
            assert f"`{kind}`" in text


def test_the_first_result_is_a_real_one_of_the_first_command():
    (result,) = re.findall(r"<!-- result -->\n```text\n(.*?)\n```", README, re.DOTALL)
    for label in (
        "score",
        "runner-up",
        "difference",
        "verdict",
        "search",
        "cost",
        "trials",
        "spent",
        "draws",
        "plan",
        "report",
    ):
        assert re.search(rf"^{label} ", result, re.MULTILINE), label
        assert f"**{label}" in README
    assert "tiny models" in result


def test_the_exit_codes_are_those_of_the_errors():
    from agenttts import errors

    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
    raised = {
        getattr(errors, name).exit_code
        for name in errors.__all__
        if hasattr(getattr(errors, name), "exit_code")
    }
    assert raised <= {int(code) for code in table}
    assert set(table) == {"0", "1", "2", "3", "4", "130"}


def test_the_fields_of_the_readme_are_made_of_rows_as_they_are_published():
    block = next(block for block in blocks("yaml") if "dataset: openai/gsm8k" in block)
    data = DataBlock.model_validate(yaml.safe_load(block)["data"])
    row = Row(0, None, {"question": "What is 6 * 7?", "answer": "6 * 7 is <<6*7=42>>42.\n#### 42"})
    (made,) = with_fields(Table("openai/gsm8k[train]", (row,), ""), data.fields).rows
    assert (made.fields["problem"], made.fields["gold"]) == ("What is 6 * 7?", "42")
