"""Recorded tables become a folder that can be searched: the right draws, gold answers read off, a task that runs."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path

import pytest

from agenttts.errors import DataError, InputError, TaskFileError
from agenttts.models.recorded import load_recording
from agenttts.models.recorded_draws import Draw, read_draws
from agenttts.study.evaluate import evaluate
from agenttts.task.imported import Imported, import_tables
from agenttts.task.importing import NO_GOLD, golds, read_recipe, stage_source
from agenttts.task.task import Task

HEADER = (
    "stage,model,model_params_b,variant,example_id,sample_index,parent_sample_index,answer,score,prompt_tokens,"
    "completion_tokens,tokens_estimated,split"
)
TASK = """
format: 1
name: aimed
data: {path: rows.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  small: {source: recorded, table: cells.csv, model_id: m@full, parameters: 1.0e9}
stages:
  first:
    prompt: {user_file: prompt.txt}
    models: [small]
    n_samples: [1, 2]
  second:
    needs: [first]
    prompt: {user: "again {{ problem.id }}"}
    models: [small]
    n_samples: [1, 2]
score: {verifier: {kind: exact, normalise: false}, gold: gold}
"""


def row(
    problem: str = "p0",
    index: int = 0,
    *,
    stage: str = "solve",
    model: str = "m",
    size: str = "1",
    variant: str = "",
    parent: str = "",
    answer: str = "x",
    score: str = "1",
    decode: str = "20",
    split: str = "",
) -> str:
    return (
        f"{stage},{model},{size},{variant},{problem},{index},{parent},{answer},{score},10,{decode},0,{split}"
    )


def table(folder: Path, rows: list[str], name: str = "draws.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def votes(*, n_problems: int = 8, n_draws: int = 4, **other: str) -> list[str]:
    """Problem p<i>: answer `g<i>` is right and drawn where (i + draw) is even."""
    return [
        row(f"p{i}", draw, answer=f"g{i}" if right else "no", score=str(int(right)), **other)
        for i in range(n_problems)
        for draw in range(n_draws)
        for right in [(i + draw) % 2 == 0]
    ]


def done(folder: Path, rows: list[str], **options: object) -> Imported:
    return import_tables([table(folder, rows)], folder / "out", **options)  # type: ignore[arg-type]


def problems(result: Imported) -> list[dict]:
    (path,) = (path for path in result.files if path.suffix == ".jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- a drafted task


def test_a_drafted_task_loads_and_offers_what_was_recorded(tmp_path: Path) -> None:
    result = done(tmp_path, [*votes(), *votes(model="big", size="4")])
    assert result.task_file is not None
    task = Task.load(result.task_file)
    stage = task.file.stages["solve"]
    assert stage.models == ("m", "big")
    assert stage.sample_counts == (1, 2, 4)
    assert [task.cards[name].parameters for name in stage.models] == [1e9, 4e9]
    assert (len(task.search), len(task.test())) == (4, 4)
    assert (stage.lengths.decode_tokens, stage.sampling.max_tokens) == (20, 20)
    # Two samples of the dearest model: 2 x 30 tokens x 2 x 4e9 FLOPs.
    assert task.file.budget.default == 480


async def test_majorities_of_a_drafted_task_are_scored_against_the_gold_that_was_read_off(
    tmp_path: Path,
) -> None:
    result = done(tmp_path, votes(n_draws=3))
    task = Task.load(result.task_file or "")
    scores = await _scores(task, n_samples=3)
    # Draws 0 and 2 are right for even problems, draw 1 for odd ones.
    assert scores == {p.id: float(int(p.id[1:]) % 2 == 0) for p in task.search}


async def test_scores_without_answers_are_what_a_draw_is_worth(tmp_path: Path) -> None:
    rows = [row(f"p{i}", d, answer="", score=f"{(i + d) / 10}") for i in range(6) for d in range(2)]
    result = done(tmp_path, rows)
    assert result.n_without_gold is None
    assert any("nothing to vote on" in warning for warning in result.warnings)
    task = Task.load(result.task_file or "")
    assert task.file.stages["solve"].sample_counts == (1,)
    assert await _scores(task, 1) == {p.id: int(p.id[1:]) / 10 for p in task.search}


async def _scores(task: Task, n_samples: int) -> dict[str, float]:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import StoredSampler
    from agenttts.pipeline.base import Allocation, StageChoice
    from agenttts.store.sql import open_store

    clients, costs = Clients(task.cards), CostModel(task.cards)
    sampler = StoredSampler(clients, open_store("memory:"), SpendingLedger(costs, None), "test")
    allocation = Allocation((StageChoice("solve", "m", n_samples, "majority"),)).canonical()
    result = await evaluate(task, allocation, task.search, clients=clients, sampler=sampler, cost_model=costs)
    await clients.aclose()
    assert not result.failures
    return dict(result.scores)


def test_the_same_tables_give_the_same_files(tmp_path: Path) -> None:
    first = done(tmp_path, votes())
    contents = [path.read_bytes() for path in first.files]
    assert [path.read_bytes() for path in done(tmp_path, votes()).files] == contents


def test_what_is_written_can_be_imported_again(tmp_path: Path) -> None:
    first = done(tmp_path, votes(split="train", variant="full"))
    again = read_draws(tmp_path / "out" / "draws.csv.gz")
    assert {(draw.model, draw.parameters, draw.split) for draw in again.draws} == {("m@full", 1e9, "search")}
    assert len(again.draws) == sum(cell.n_draws for cell in first.cells)


def test_the_splits_of_the_table_are_kept(tmp_path: Path) -> None:
    rows = [
        line.removesuffix(",") + (",test" if i % 4 == 0 else ",train")
        for i, line in enumerate(votes(n_draws=1))
    ]
    result = done(tmp_path, rows)
    task = Task.load(result.task_file or "")
    assert result.n_problems == {"test": 2, "search": 6}
    assert {problem.id for problem in task.test()} == {"p0", "p4"}


def test_chains_are_left_out_and_said_to_be_no_samples(tmp_path: Path) -> None:
    turns = [
        row(f"p{i}", t, stage="debug", parent=str(t - 1) if t else "") for i in range(8) for t in range(3)
    ]
    result = done(tmp_path, [*votes(), *turns])
    assert any("debug: its draws are turns" in warning for warning in result.warnings)
    assert list(Task.load(result.task_file or "").file.stages) == ["solve"]


def test_models_that_lack_problems_tokens_or_scores_are_left_out_with_the_reason(tmp_path: Path) -> None:
    few = votes(n_problems=3, model="few")
    free = votes(model="free", decode="")
    result = done(tmp_path, [*votes(), *few, *free])
    assert Task.load(result.task_file or "").file.stages["solve"].models == ("m",)
    told = " ".join(result.warnings)
    assert "leaves out few: draws of fewer than 8 problems" in told
    assert "leaves out free: draws without token counts" in told


def test_no_task_is_drafted_of_draws_without_token_counts(tmp_path: Path) -> None:
    result = done(tmp_path, votes(decode=""))
    assert result.task_file is None
    assert "no task was drafted" in result.warnings[-1]


def test_models_without_parameters_are_budgeted_in_tokens(tmp_path: Path) -> None:
    budget = Task.load(done(tmp_path, votes(size="")).task_file or "").file.budget
    assert (budget.unit.value, budget.default) == ("tokens", 60)


def test_recorded_prompts_are_asked_again(tmp_path: Path) -> None:
    rows = [f"solve,m,p{i},0,ask {i},x,{i % 2},1,1" for i in range(4)]
    path = tmp_path / "draws.csv"
    header = "stage,model,problem_id,sample_index,prompt,answer,score,prefill_tokens,decode_tokens"
    path.write_text("\n".join([header, *rows]) + "\n")
    result = import_tables([path], tmp_path / "out")
    assert problems(result)[2]["prompts"] == {"solve": "ask 2"}
    prompt = Task.load(result.task_file or "").file.stages["solve"].prompt
    assert prompt is not None
    assert prompt.user == "{{ problem.prompts.solve }}"


# --- gold


def draws(*pairs: tuple[str, float | None], problem: str = "p") -> list[Draw]:
    return [
        Draw("s", "m", problem, i, None, answer, None, 1, 1, False, score, None, None, "")
        for i, (answer, score) in enumerate(pairs)
    ]


def test_gold_answers_are_all_that_score_one() -> None:
    found = golds([*draws(("7", 1), ("07", 1), ("8", 0)), *draws(("1", 0), problem="q")])
    assert found.answers == {"p": ("07", "7"), "q": ()}


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([("7", 0.5)], "neither 0 nor 1"),
        ([("", 1.0)], "without an answer"),
        ([("7", 1.0), ("7", 0.0)], "both 0 and 1"),
        ([("7", None)], "no draw has a score"),
    ],
)
def test_gold_is_not_read_off_where_scores_are_no_matter_of_the_answer(
    pairs: list[tuple[str, float | None]], why: str
) -> None:
    assert why in golds(draws(*pairs)).why_not


def test_a_problem_that_no_draw_solves_counts_every_answer_as_wrong(tmp_path: Path) -> None:
    result = done(tmp_path, [*votes(), *[row("hard", d, score="0", answer="z") for d in range(4)]])
    assert result.n_without_gold == 1
    assert problems(result)[-1] == {"id": "hard", "gold": [NO_GOLD]}


# --- stages and tasks


def written(folder: Path, name: str = "cells.csv") -> list[dict[str, str]]:
    path = folder / name
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return list(csv.DictReader(io.StringIO(text.decode())))


def test_stages_take_their_own_draws_numbered_from_0(tmp_path: Path) -> None:
    stages = dict(map(stage_source, ("first=solve:0-1", "second=solve:2-3")))
    done(tmp_path, votes(n_problems=2), stages=stages)
    rows = written(tmp_path / "out", "draws.csv.gz")
    found = {(r["stage"], r["problem_id"], r["sample_index"]): r["answer"] for r in rows}
    assert found["first", "p0", "1"] == "no"
    assert found["second", "p0", "0"] == "g0"
    assert {key[2] for key in found} == {"0", "1"}


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (("a=solve:0-2", "b=solve:2-3"), "the same draws of 'solve'"),
        (("a=solve", "b=solve:2-3"), "the same draws of 'solve'"),
        (("a=slove",), "Did you mean `solve`"),
    ],
)
def test_stages_that_share_draws_or_were_not_recorded_are_refused(
    tmp_path: Path, stages: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        done(tmp_path, votes(), stages=dict(map(stage_source, stages)))


@pytest.mark.parametrize("text", ["solve", "a=", "=b", "a=b:", "a=b:5", "a=b:5-2", "a=b:x-y"])
def test_a_stage_option_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="attempt=solve:0-63"):
        stage_source(text)


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks" / "aimed"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(TASK)
    (folder / "prompt.txt").write_text("solve {{ problem.id }}")
    (folder / "import.yaml").write_text(
        "format: 1\nstages:\n  first: {from: solve, draws: 0-1}\n  second: {from: solve, draws: 2-3}\n"
        "splits: {old: search, new: test}\n"
    )
    return folder


def test_a_task_with_a_recipe_is_ready_after_one_command(tmp_path: Path, task_folder: Path) -> None:
    old = table(tmp_path, votes(n_problems=4, variant="full"), "old_draws.csv")
    new = table(
        tmp_path, [line.replace(",p", ",q") for line in votes(n_problems=3, variant="full")], "new.csv"
    )
    result = import_tables([old, new], tmp_path / "out", task=str(task_folder))
    names = sorted(path.name for path in result.files)
    assert names == ["cells.csv", "prompt.txt", "rows.jsonl", "task.yaml"]
    task = Task.load(tmp_path / "out")
    assert (len(task.search), len(task.test())) == (4, 3)
    assert {p.id[0] for p in task.search} == {"p"}
    recording = load_recording(tmp_path / "out" / "cells.csv")
    assert [recording.max_draws(stage, "m@full") for stage in ("first", "second")] == [2, 2]


def test_importing_beside_the_task_leaves_its_own_files_alone(tmp_path: Path, task_folder: Path) -> None:
    old = table(tmp_path, votes(variant="full"), "old.csv")
    new = table(tmp_path, [line.replace(",p", ",q") for line in votes(variant="full")], "new.csv")
    result = import_tables([old, new], task_folder, task=str(task_folder))
    assert sorted(path.name for path in result.files) == ["cells.csv", "rows.jsonl"]
    assert (task_folder / "task.yaml").read_text() == TASK


def test_mistakes_in_a_recipe_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "import.yaml"
    path.write_text("format: 1\nstages:\n  a: {from: solve, drawn: 0-1}\n  b: {from: solve, draws: 5-2}\n")
    with pytest.raises(TaskFileError) as caught:
        read_recipe(path)
    told = str(caught.value)
    assert "import.yaml:3: stages.a.drawn" in told
    assert "Did you mean `draws`?" in told
    assert "import.yaml:4: stages.b" in told


def test_two_tables_that_hold_the_same_draw_are_refused(tmp_path: Path) -> None:
    paths = [table(tmp_path, votes(), name) for name in ("a.csv", "b.csv")]
    with pytest.raises(InputError, match="two tables hold draw 0 of problem 'p0'"):
        import_tables(paths, tmp_path / "out")


def test_mistakes_of_all_tables_are_told_at_once(tmp_path: Path) -> None:
    paths = [table(tmp_path, [row(score="2")], name) for name in ("a.csv", "b.csv")]
    with pytest.raises(DataError, match=r"a\.csv: row 2.*\n.*b\.csv: row 2"):
        import_tables(paths, tmp_path / "out")


def test_a_problem_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="problem 'p0' is in two splits"):
        done(tmp_path, [row("p0", 0, split="train"), row("p0", 1, split="test")])


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    done(tmp_path, votes())
    (tmp_path / "out" / "task.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"task\.yaml: there already"):
        done(tmp_path, votes())
    assert (tmp_path / "out" / "task.yaml").read_text() == "mine"
    done(tmp_path, votes(), force=True)
    assert (tmp_path / "out" / "task.yaml").read_text() != "mine"


@pytest.mark.skipif(
    "AGENTTTS_REPLAY" not in os.environ, reason="AGENTTTS_REPLAY names no folder of replay tables"
)
def test_one_command_makes_the_task_aime_ready(tmp_path: Path) -> None:
    folder = Path(os.environ["AGENTTTS_REPLAY"])
    paths = [folder / f"aime{year}_qwen3.csv.gz" for year in (24, 25)]
    result = import_tables(paths, tmp_path / "out", task="aime")
    assert {(cell.stage, cell.least, cell.most, cell.n_problems) for cell in result.cells} == {
        ("attempt", 64, 64, 60),
        ("escalate", 64, 64, 60),
    }
    assert result.n_without_gold == 3
    task = Task.load(tmp_path / "out")
    assert (len(task.search), len(task.test())) == (30, 30)
    assert {problem.id[:6] for problem in task.search} == {"aime24"}


def test_a_task_without_a_recipe_is_refused_and_nothing_written(tmp_path: Path, task_folder: Path) -> None:
    (task_folder / "import.yaml").unlink()
    path = table(tmp_path, votes(variant="full"), "old.csv")
    with pytest.raises(InputError, match=r"no import\.yaml beside"):
        import_tables([path], tmp_path / "out", task=str(task_folder))
    assert not (tmp_path / "out").exists()


def test_draws_that_do_not_fit_the_task_are_an_error(tmp_path: Path, task_folder: Path) -> None:
    tables = [
        table(tmp_path, votes(n_problems=4, variant="other"), "old.csv"),
        table(tmp_path, [line.replace(",p", ",q") for line in votes(variant="other")], "new.csv"),
    ]
    with pytest.raises(InputError, match="do not fit the task: stage first has no draws of small"):
        import_tables(tables, tmp_path / "out", task=str(task_folder))
