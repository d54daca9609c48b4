"""`agenttts paper`, started as users start it: six methods at a reduced size, a planner over HTTP, the test step, resuming."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

import agenttts
from agenttts._cli.quoting import forecast
from agenttts.allocators.base import PlannerCall
from agenttts.models.base import Message
from agenttts.study.first_question import QUESTION
from agenttts.study.opening import study_options
from agenttts.study.paper_opening import PaperRequest, prepare_paper
from agenttts.task.first_ways import with_first_ways
from agenttts.task.task import Task
from agenttts.testing.planners import Sensible
from tests.models.local_server import Answer, Body, closed_port_url, completion, error, local_server

LABELS = ["Random", "BO (gp)", "LLM_ZS", "MLCopilot", "AgentHPO", "AgentTTS"]
N_TEST = 10
SMALL = ["--trials", "12", "--batch", "4", "--search-problems", "4", "--test-problems", str(N_TEST)]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "agenttts", "paper", *map(str, arguments)]


def paper(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=200, cwd=cwd, env={**os.environ, **more}
    )


def flat(text: str) -> str:
    return " ".join(text.split())


# --- six methods on the tiny models, with a planner over HTTP ----------------------------------------------------------


def adviser(task: Task):
    """A scripted planner as a model behind an endpoint."""
    planner = Sensible(forecast(task, study_options(task, allocator="random")).space)

    def answer(body: Body) -> Body | Answer:
        if not body:  # asked for its list of models
            return Answer(404, {})
        if said(body) == QUESTION:
            return completion(body, contents=["yes"])
        messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
        form = body.get("response_format", {}).get("json_schema", {}).get("schema")
        return completion(body, contents=[planner(PlannerCall(messages, form)).text])

    return answer


def write_planner(folder: Path, url: str) -> None:
    cards = folder / "budgets" / "models"
    cards.mkdir(parents=True)
    # As many planners are: with a price, without a known size.
    (cards / "mine.yaml").write_text(
        f"format: 1\nmodels:\n  adviser:\n    source: openai\n    base_url: {url}\n    max_attempts: 1\n"
        "    supports_json_schema: true\n    price: {input_per_million_usd: 1, output_per_million_usd: 4}\n"
    )


@dataclass
class Done:
    """The protocol on the tiny task, run once for several tests."""

    folder: Path
    first: subprocess.CompletedProcess[str]
    n_asked: int
    again: subprocess.CompletedProcess[str]
    n_asked_again: int

    @property
    def result(self) -> dict:
        return json.loads((self.folder / "runs/six/paper.json").read_text())


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("six")
    arguments = [
        "--task",
        "tiny",
        *SMALL,
        "--seeds",
        "2",
        "--jobs",
        "2",
        "--planner",
        "adviser",
        "--out",
        "six",
    ]
    with local_server(always=adviser(with_first_ways(Task.load("tiny")))) as server:
        write_planner(folder, server.url)
        first = paper(*arguments, "--yes", cwd=folder, COLUMNS="80")
        n_asked = len([body for body in server.bodies if body and said(body) != QUESTION])
        n_all = len(server.bodies)
        again = paper(*arguments, "--json", cwd=folder)
        return Done(folder, first, n_asked, again, len(server.bodies) - n_all)


def test_six_methods_stand_in_three_tables_of_80_columns(six: Done):
    assert six.first.returncode == 0, six.first.stderr
    lines = six.first.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for head in ("method +seeds +search score +test score", "method +arrived +trials"):
        start = next(i for i, line in enumerate(lines) if re.match(head, line))
        assert [line[:10].strip() for line in lines[start + 1 : start + 7]] == LABELS
    start = next(i for i, line in enumerate(lines) if line.startswith("less AgentTTS"))
    assert [line[:10].strip() for line in lines[start + 1 : start + 6]] == LABELS[:-1]
    text = flat(six.first.stdout)
    assert "The paper prints nothing of the task tiny" in text
    assert "translate: only majority turns samples into an answer, the first way" in text
    assert "left out: best_of_n(tiny_prm), weighted_vote(tiny_prm)" in text
    assert "10 test problems (the paper: 500)" in text
    assert "Fewer than 3 seeds" in text
    assert "Figures come from tiny models shipped with agenttts" in text
    assert "adviser" in text


def test_the_test_score_of_a_method_is_the_mean_of_its_plans_on_the_test_problems(six: Done):
    result = six.result
    assert len(result["searches"]) == 12
    for row in result["methods"]:
        own = [one["test_score"] for one in result["searches"] if one["allocator"] == row["allocator"]]
        assert row["test_score"]["value"] == pytest.approx(sum(own) / 2)
        assert row["test_score"]["n_problems"] == N_TEST
        assert row["published"] is None
        assert 0 <= row["n_reached"] <= row["n_seeds"] == 2
        assert row["trials_to_best"]["value"] is None or row["n_reached"] > 0
        assert (row["planner"] is None) == (row["allocator"] in {"random", "gp"})
    ours = result["methods"][-1]
    assert ours["allocator"] == "agenttts"
    for row in result["methods"][:-1]:
        difference = row["test_score"]["value"] - ours["test_score"]["value"]
        assert row["against"]["value"] == pytest.approx(difference)
        assert row["against"]["verdict"] in {"not distinguishable", "better", "worse", "the same plans"}
    best = max(row["search_score"]["value"] for row in result["methods"])
    assert result["best_search_score"] >= best
    assert any(row["n_reached"] for row in result["methods"])


def test_a_plan_scores_as_evaluate_scores_it(six: Done, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(six.folder)
    search = six.result["searches"][-1]
    score = agenttts.evaluate(Path(search["folder"]) / "plan.yaml", n=N_TEST)
    assert score.score is not None
    assert search["test_score"] == pytest.approx(score.score.mean)


def test_each_distinct_plan_is_scored_once_and_asking_again_pays_nothing(six: Done):
    assert six.again.returncode == 0, six.again.stderr
    assert six.n_asked > 0
    assert six.n_asked_again == 0
    assert "to run" not in six.again.stderr
    assert "test 1/" not in six.again.stderr
    assert json.loads(six.again.stdout) == six.result
    plans = {json.dumps(one["allocation"]) for one in six.result["searches"]}
    assert len(list((six.folder / "runs/six/tests").glob("*.json"))) == len(plans)
    assert len(re.findall(r"^test \d+/", six.first.stderr, re.M)) == len(plans)


def test_the_planner_is_billed_beside_although_its_size_is_unknown(six: Done):
    asked = sum(row["planner"]["calls"] for row in six.result["methods"] if row["planner"])
    assert asked == six.n_asked
    for row in six.result["methods"][2:]:
        told = row["planner"]
        # The local server bills 7 tokens read and 3 written for each call.
        assert told["calls"] > 0
        assert told["usd"] == pytest.approx(told["calls"] * (7 * 1e-6 + 3 * 4e-6))
    assert six.result["really_paid"]["flops"] > 0
    assert re.search(r"The planner's calls come on top: .* Together [\d.]+ USD", flat(six.first.stdout))


def test_the_page_holds_tables_plots_and_what_was_found(six: Done):
    page = (six.folder / "runs/six/paper.html").read_text()
    for label in LABELS:
        assert f">{label}</td>" in page
    for part in ("Scores on the test problems", "Against AgentTTS", "Allocations found", 'id="by-trials"'):
        assert part in page
    assert "Gaussian process" in page
    for name in ("runs.csv", "curves.csv"):
        assert (six.folder / "runs/six" / name).stat().st_size > 100


# --- without a planner, on recorded draws ---------------------------------------------------------------------------


def test_without_a_planner_two_methods_run_beside_the_published_figures_and_the_rest_is_missing(
    recorded_task,
):
    recorded_task.write_text(recorded_task.read_text().replace("name: sums", "name: 2wikimultihopqa"))
    done = paper("--task", recorded_task, "--trials", "4", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Random +3 +0\.\d{3} +0\.\d{3} \[.*\] +0\.66$", done.stdout, re.M)
    assert re.search(r"^AgentTTS +- +- +not run: no planner +0\.72$", done.stdout, re.M)
    text = flat(done.stdout)
    assert "Not run: LLM_ZS, MLCopilot, AgentHPO, AgentTTS. They ask a planner and none is set" in text
    assert "arXiv:2508.00890v2 (NeurIPS 2025), Table 1" in text
    assert "standard error of about 0.02" in text
    assert "Fewer than 3 seeds" not in text
    assert "Figures come from recorded draws" in text
    [folder] = Path("runs").glob("paper-2wikimultihopqa-*")
    result = json.loads((folder / "paper.json").read_text())
    assert result["n_test"] == 24
    assert [one["published"]["hours"] for one in result["missing"]] == [12.5, 12.5, 8.3, 2.5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "agenttts,llm_zs"], "AgentTTS, LLM_ZS ask a planner and none is set"),
        (["--methods", "gp,bo"], "one or more different names"),
        (["--methods", "agentts"], "Did you mean"),
        (["--planner", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(recorded_task, options, said):
    done = paper("--task", recorded_task, *options)
    assert done.returncode == 2
    assert said in flat(done.stderr)
    assert not Path("runs").exists()


def test_data_of_ones_own_and_other_methods_are_taken(recorded_task):
    rows = [json.loads(line) for line in (recorded_task.parent / "problems.jsonl").read_text().splitlines()]
    own = Path("own")
    own.mkdir()
    for split, n in (("search", 6), ("test", 5)):
        some = [row for row in rows if row["split"] == split][:n]
        (own / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    setup = prepare_paper(PaperRequest(task=recorded_task, data=own, methods=["tpe", "grid"], n_trials=3))
    assert [method.label for method in setup.methods] == ["tpe", "grid"]
    assert (len(setup.folder.task.search), setup.n_test) == (6, 5)
    assert setup.folder.path.name.startswith("paper-sums-")


# --- over HTTP ------------------------------------------------------------------------------------------------------

HTTP_TASK = """
format: 1
name: echo
data: {path: problems.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  small: {source: openai, base_url: URL, parameters: 1.0e+6, max_n: 1PRICE}
  large: {source: openai, base_url: URL, parameters: 4.0e+6, max_n: 1PRICE}
stages:
  say:
    prompt: {user: "Say {{ problem.word }}"}
    models: [small, large]
    n_samples: [1, 2, 3]
    sampling: {max_tokens: 10}
    lengths: {prefill_tokens: 7, decode_tokens: 3}
score: {stage: say, verifier: exact, gold: word}
budget: {unit: gflops, default: 1}
"""


def write_http_task(folder: Path, url: str, price: str = "") -> Path:
    rows = [
        {
            "id": f"p{i}",
            "word": f"{'search' if i < 6 else 'test'}-{i}",
            "split": "search" if i < 6 else "test",
        }
        for i in range(12)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.yaml"
    path.write_text(HTTP_TASK.replace("URL", url).replace("PRICE", price))
    return path


def said(body: Body) -> str:
    return body["messages"][-1]["content"]


def echo(body: Body) -> Body | Answer:
    return completion(body, contents=[said(body).removeprefix("Say ")]) if body else Answer(404, {})


def test_test_problems_stay_sealed_until_the_searches_have_ended_and_no_draw_is_bought_twice(tmp_path: Path):
    arguments = [
        "--methods",
        "random,bo",
        "--seeds",
        "2",
        "--trials",
        "4",
        "--batch",
        "2",
        "--jobs",
        "1",
        "--out",
        "x",
    ]
    with local_server(always=echo) as server:
        task = write_http_task(tmp_path, server.url)
        process = subprocess.Popen(
            command("--task", task, *arguments), stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("study 2/4"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
        assert "the same command goes on" in rest
        assert not any("test-" in said(body) for body in server.bodies if body)
        done = paper("--task", task, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        prompts = [said(body) for body in server.bodies if body]
        first_test = next(i for i, prompt in enumerate(prompts) if "test-" in prompt)
        assert all("test-" in prompt for prompt in prompts[first_test:])
        draws = Counter((body["model"], said(body), body["seed"]) for body in server.bodies if body)
        assert max(draws.values()) == 1
        n = len(server.bodies)
        grown = paper("--task", task, *arguments, "--test-problems", "3", cwd=tmp_path)
        assert grown.returncode == 0, grown.stderr
        assert not any(server.bodies[n:])  # three of the six that have been asked
    result = json.loads((tmp_path / "runs/x/paper.json").read_text())
    assert result["n_test"] == 3
    assert [row["test_score"]["value"] for row in result["methods"]] == [1.0, 1.0]


def test_money_is_agreed_to_before_it_is_spent_the_test_step_included(tmp_path: Path):
    with local_server() as server:
        task = write_http_task(
            tmp_path, server.url, ", price: {input_per_million_usd: 1, output_per_million_usd: 2}"
        )
        done = paper("--task", task, "--methods", "random", "--trials", "4", cwd=tmp_path)
        assert not any(server.bodies)
    assert done.returncode == 2
    text = flat(done.stderr)
    assert "3 studies to run" in text
    assert "At most 3 allocations to score on 6 test problems afterwards" in text
    assert re.search(r"This will cost [\d.]+ USD.* Go on\?", text)


def test_what_fails_in_the_test_step_is_told_and_tried_again(tmp_path: Path):
    broken = True

    def script(body: Body):
        return error(400) if body and broken and "test-7" in said(body) else echo(body)

    arguments = ["--methods", "random", "--seeds", "1", "--trials", "2", "--jobs", "1", "--out", "x"]
    with local_server(always=script) as server:
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, *arguments, cwd=tmp_path)
        assert "1 of 6 test problems failed for" in flat(done.stdout)
        assert "it has no test score" in flat(done.stdout)
        result = json.loads((tmp_path / "runs/x/paper.json").read_text())
        assert result["methods"][0]["test_score"] is None
        broken = False
        n = len(server.bodies)
        again = paper("--task", task, *arguments, "--json", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert {said(body) for body in server.bodies[n:] if body} == {"Say test-7"}
    assert json.loads(again.stdout)["methods"][0]["test_score"]["value"] == 1.0


# --- what is told before anything is paid, and where it ends ------------------------------------------------------------


def write_adviser(folder: Path, url: str) -> None:
    cards = folder / "budgets" / "models"
    cards.mkdir(parents=True, exist_ok=True)
    (cards / "mine.yaml").write_text(
        f"format: 1\nmodels:\n  adviser: {{source: openai, base_url: {url}, max_attempts: 1, "
        "price: {input_per_million_usd: 1, output_per_million_usd: 4}}\n"
    )


ADVISED = ["--methods", "random,llm_zs", "--seeds", "2", "--trials", "6", "--batch", "3", "--jobs", "1"]


def test_a_dead_endpoint_ends_the_command_with_one_line_before_anything_runs(tmp_path: Path):
    task = write_http_task(tmp_path, closed_port_url())
    done = paper("--task", task, "--methods", "random,bo", cwd=tmp_path)
    assert done.returncode == 4
    assert flat(done.stderr).count("nobody answers at") == 1
    assert "study 1/" not in done.stderr
    assert not done.stdout


def test_a_planner_that_does_not_reply_is_refused_before_any_draw(tmp_path: Path):
    def unknown(body: Body) -> Answer:
        return error(404, "The model `adviser` does not exist", code="model_not_found")

    with local_server(always=echo) as server, local_server(always=unknown) as planner:
        write_adviser(tmp_path, planner.url)
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, *ADVISED, "--planner", "adviser", "--yes", cwd=tmp_path)
        assert not any(server.bodies)
    assert done.returncode == 4
    text = flat(done.stderr)
    assert "the planner adviser did not reply to a first question, so nothing was searched" in text
    assert "does not exist" in text
    assert f"It is asked at {planner.url}" in text
    assert "study 1/" not in text
    assert not list((tmp_path / "runs").iterdir())  # so that the same can be begun with another planner


def test_a_missing_key_is_told_without_asking_anybody(tmp_path: Path):
    with local_server(always=echo) as server:
        write_adviser(tmp_path, "https://planner.invalid/v1, api_key_env: NO_SUCH_KEY")
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, *ADVISED, "--planner", "adviser", "--yes", cwd=tmp_path)
        assert not any(server.bodies)
    assert done.returncode == 4
    assert flat(done.stderr).count("NO_SUCH_KEY is not set") == 1


def test_a_search_whose_planner_gave_nothing_is_marked_and_stands_beside_no_published_figure(tmp_path: Path):
    def useless(body: Body) -> Body | Answer:
        return completion(body, contents=["Let me think about that."]) if body else Answer(404, {})

    with local_server(always=echo) as server, local_server(always=useless) as planner:
        write_adviser(tmp_path, planner.url)
        task = write_http_task(tmp_path, server.url)
        task.write_text(task.read_text().replace("name: echo", "name: 2wikimultihopqa"))
        done = paper("--task", task, *ADVISED, "--planner", "adviser", "--yes", "--out", "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^LLM_ZS \(!\) .* -$", done.stdout, re.M)
    assert re.search(r"^Random .* 0\.66$", done.stdout, re.M)
    assert re.search(r"^LLM_ZS \(!\) +4 +0 +4 +4 +0 of 12$", done.stdout, re.M)
    text = flat(done.stdout)
    assert "LLM_ZS (!): the planner gave 0 of 12 proposals that it was asked for" in text
    assert "0 brought no reply, and in 4 of 4 rounds it replied with no proposal that could be used" in text
    result = json.loads((tmp_path / "runs/x/paper.json").read_text())
    row = result["methods"][1]
    assert row["planner_gave_nothing"] is True
    assert row["published"] is None
    assert row["planner"]["share"]["nothing_usable"] == 4
    assert "LLM_ZS (!)" in (tmp_path / "runs/x/paper.html").read_text()


def test_the_first_search_whose_key_is_refused_ends_the_command(tmp_path: Path):
    with local_server(always=lambda body: error(401, "bad key") if body else Answer(404, {})) as server:
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, "--methods", "random,bo", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.count("401") == 1
    assert "the same command goes on" in flat(done.stderr)
    assert "⏎" not in done.stderr
    assert not done.stdout


# --- what the tables say of themselves -----------------------------------------------------------------------------------


def test_longer_prompts_and_models_that_fit_nowhere_are_told(tmp_path: Path):
    with local_server(always=echo) as server:
        task = write_http_task(tmp_path, server.url)
        task.write_text(task.read_text().replace("prefill_tokens: 7", "prefill_tokens: 2"))
        small = ["--methods", "random", "--seeds", "1", "--trials", "2", "--budget", "0.05"]
        done = paper("--task", task, *small, "--out", "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = flat(done.stdout)
    assert "Prompts are longer than the task says: say 7 tokens, where the task says 2." in text
    # large: 2 * 4e6 * (7 + 3) FLOPs are 0.08 GFLOPs a sample
    assert "Never used, for no allocation with them fits 0.05 GFLOPs a problem" in text
    assert "large in say. The scores are of the pool without them" in text
    assert json.loads((tmp_path / "runs/x/paper.json").read_text())["pool"]["never_fits"] == ["large in say"]


def test_one_search_is_told_as_such_and_a_single_batch_as_no_comparison(tmp_path: Path):
    with local_server(always=echo) as server:
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, "--methods", "random", "--seeds", "1", "--trials", "1", cwd=tmp_path)
    text = flat(done.stdout)
    assert "1 method, 1 seed each" in text
    assert "every search ends in its opening" in text
    assert "There is one search, which arrives at its own best" in text
    assert "Tried by no search, although they may fit:" in text
    assert "Differences pair" not in text
    assert re.search(r"^Random +1 of 1 +1 +[\d.]+", done.stdout, re.M)  # no brackets around one search


def test_nothing_arrives_where_the_best_score_is_0_and_methods_that_begin_alike_are_named(tmp_path: Path):
    def wrong(body: Body) -> Body | Answer:
        return completion(body, contents=["no"]) if body else Answer(404, {})

    arguments = ["--methods", "random,bo", "--seeds", "3", "--trials", "4", "--batch", "2"]
    with local_server(always=wrong) as server:
        task = write_http_task(tmp_path, server.url)
        done = paper("--task", task, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The best search score is 0" in flat(done.stdout)
    assert re.search(r"^Random +- +-", done.stdout, re.M)
    with local_server(always=echo) as server:
        task = write_http_task(tmp_path, server.url)
        right = paper("--task", task, *arguments, "--out", "y", cwd=tmp_path)
    text = flat(right.stdout)
    assert "Random and BO (gp) begin alike: their first batch of 2 is the same random draw" in text
    assert re.search(r"^Random +3 of 3 +1 \(1 to 1\)", right.stdout, re.M)
    assert "in brackets the least and the most of the searches" in text
    assert re.search(r"tell differences of about 0\.\d+ or more from none", text)
