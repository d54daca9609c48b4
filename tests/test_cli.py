"""The command line, started as users start it. The task's draws are recorded, so every run is quick and exact."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

ALLOCATOR = ["--allocator", "random", "--trials", "6"]


def agenttts(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agenttts", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def optimize_json(task: Path, *arguments: str) -> dict:
    done = agenttts("optimize", task, *ALLOCATOR, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_names_every_command_and_the_exit_codes():
    done = agenttts("--help")
    assert done.returncode == 0
    for word in ("optimize", "check", "evaluate", "tasks", "models", "serve-models", "runs", "Exit codes"):
        assert word in done.stdout
    assert "130 interrupted" in " ".join(done.stdout.split())


def test_the_version_is_printed():
    import agenttts as package

    assert agenttts("--version").stdout.strip() == f"agenttts {package.__version__}"


def test_an_unknown_option_is_an_input_error():
    assert agenttts("optimize", "tiny", "--bugdet", "1").returncode == 2


# --- optimize ------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_plan_score_interval_verdict_cost_and_provenance(recorded_task):
    done = agenttts("optimize", recorded_task, *ALLOCATOR)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert re.search(r"^think\s+rec/(small|large)\s+\d", out, re.M)
    assert re.search(r"^score\s+\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] on 24 unseen problems", out, re.M)
    for label in ("runner-up", "difference", "verdict", "cost", "spent", "draws", "failures", "plan"):
        assert re.search(rf"^{label} ", out, re.M), label
    assert "Figures come from recorded draws" in out
    assert all(len(line) <= 80 for line in out.splitlines() if "/" not in line)
    assert "6/6 trials" in done.stderr


def test_asking_the_same_again_returns_the_same_run_and_pays_nothing(recorded_task):
    first = optimize_json(recorded_task)
    second = optimize_json(recorded_task)
    assert (first["resumed"], second["resumed"]) == (False, True)
    assert first["n_paid_now"] > 0
    assert second["n_paid_now"] == 0
    for key in ("run", "best", "confirmation", "spent", "n_paid", "trials", "plan"):
        assert first[key] == second[key], key
    assert "0 draws paid now" in " ".join(agenttts("optimize", recorded_task, *ALLOCATOR).stdout.split())


def test_json_is_all_there_is_on_standard_output_and_ascii(recorded_task):
    done = agenttts("optimize", recorded_task, *ALLOCATOR, "--json")
    result = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert result["status"] == "finished"
    assert result["confirmation"]["winner"]["n"] == 24
    assert Path(result["plan"]["path"]).is_file()
    assert "trial" in done.stderr


def test_another_question_gets_another_run_but_shares_the_draws(recorded_task):
    first = optimize_json(recorded_task)
    other = optimize_json(recorded_task, "--seed", "1")
    assert first["run"] != other["run"]
    assert other["n_paid"] < first["n_paid"]


def test_a_named_run_of_another_question_is_refused_with_the_way_out(recorded_task):
    optimize_json(recorded_task, "--run", "mine")
    assert (Path("runs") / "mine" / "events.jsonl").is_file()
    done = agenttts("optimize", recorded_task, *ALLOCATOR, "--run", "mine", "--seed", "3")
    assert done.returncode == 2
    assert "begun with seed 0, not 3" in done.stderr
    assert "agenttts optimize runs/mine" in done.stderr


def test_a_search_budget_stops_the_search_resumably(recorded_task):
    cut = agenttts("optimize", recorded_task, *ALLOCATOR, "--run", "cut", "--search-budget", "10", "--json")
    assert cut.returncode == 3, cut.stderr
    stopped = json.loads(cut.stdout)
    assert stopped["status"] == "search_budget_exhausted"
    assert stopped["spent"]["flops"] <= 10e9
    more = agenttts("optimize", "runs/cut", "--search-budget", "1e6", "--json")
    assert more.returncode == 0, more.stderr
    resumed, whole = (
        json.loads(more.stdout),
        optimize_json(recorded_task, "--run", "whole", "--store", "memory:"),
    )
    # Which trial paid for a draw that several share depends on where the search was cut; what all paid does not.
    of_whom = {"n_paid", "n_reused", "resumed"}
    best, expected = ({k: v for k, v in r["best"].items() if k not in of_whom} for r in (resumed, whole))
    assert best == expected
    assert [t["score"] for t in resumed["trials"]] == [t["score"] for t in whole["trials"]]
    assert resumed["n_paid"] == whole["n_paid"]


def test_a_run_folder_takes_no_options_that_were_fixed_when_it_began(recorded_task):
    optimize_json(recorded_task, "--run", "mine")
    done = agenttts("optimize", "runs/mine", "--budget", "3")
    assert done.returncode == 2
    assert "budget cannot be changed" in done.stderr


def test_a_budget_that_nothing_fits_ends_with_code_3(recorded_task):
    done = agenttts("optimize", recorded_task, *ALLOCATOR, "--budget", "1e-9")
    assert done.returncode == 3
    assert "cheapest" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_unit_is_answered_with_the_nearest(recorded_task):
    done = agenttts("optimize", recorded_task, "--budget", "0.5gflop")
    assert done.returncode == 2
    assert "Did you mean `gflops`?" in done.stderr


@pytest.mark.parametrize("budget", ["much", "-3", "5 parsecs", "nan"])
def test_an_unreadable_budget_ends_with_code_2(recorded_task, budget):
    done = agenttts("optimize", recorded_task, *ALLOCATOR, f"--budget={budget}")
    assert done.returncode == 2
    assert "budget" in done.stderr


def test_an_unknown_allocator_is_named_before_anything_is_spent(recorded_task):
    done = agenttts("optimize", recorded_task, "--allocator", "randon")
    assert done.returncode == 2
    assert "Did you mean `random`?" in done.stderr
    assert not Path("runs").exists()


def test_a_mistake_in_the_task_is_told_with_file_and_line(recorded_task):
    recorded_task.write_text(recorded_task.read_text().replace("n_samples: [1, 2, 4]", "n_sample: [1, 2, 4]"))
    done = agenttts("optimize", recorded_task)
    assert done.returncode == 2
    assert re.search(r"task\.yaml:\d+: stages\.think\.n_sample", done.stderr)
    assert "n_samples" in done.stderr


def test_ctrl_c_leaves_a_run_that_goes_on(recorded_task):
    """Many trials of a slow allocator would take minutes; the interrupt comes after the first trials."""
    command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task)]
    arguments = ["--allocator", "grid", "--trials", "30", "--run", "stopped", "--concurrency", "1", "--json"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = Path("runs/stopped/events.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and '"event":"pilot"' in log.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if process.returncode == 0:
        pytest.skip("the run was over before the interrupt arrived")
    assert process.returncode == 130, err
    told = json.loads(out)
    assert told["status"] == "interrupted"
    if told["report"] is None:  # a busy machine made it take longer than one who interrupts would wait
        assert "agenttts report runs/stopped" in err
    else:
        assert "interrupted" in Path(told["report"]).read_text()
    listed = agenttts("runs").stdout
    assert "interrupted" in listed
    assert "agenttts optimize runs/stopped" in listed
    resumed = agenttts("optimize", "runs/stopped", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["status"] == "finished"


def test_sigterm_ends_a_run_that_was_started_with_ctrl_c_ignored(recorded_task):
    """As a non-interactive shell starts everything with `&`."""
    command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task), "--allocator", "grid"]
    process = subprocess.Popen(
        [*command, "--trials", "300", "--run", "stopped", "--concurrency", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    log = Path("runs/stopped/events.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and '"event":"pilot"' in log.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def priced(task: Path) -> Path:
    price = "price: {input_per_million_usd: 1000, output_per_million_usd: 1000}"
    task.write_text(task.read_text().replace("e+6}", f"e+6, {price}}}"))
    return task


def test_off_a_terminal_money_is_not_spent_without_yes(recorded_task):
    done = agenttts("optimize", priced(recorded_task), *ALLOCATOR)
    assert done.returncode == 2
    assert "give --yes" in done.stderr
    assert not Path("runs").exists()
    assert agenttts("optimize", recorded_task, *ALLOCATOR, "--yes").returncode == 0


@pytest.mark.parametrize(
    ("typed", "code", "said"), [(b"n\n", 0, "Nothing was spent"), (b"\x03", 130, "interrupted")]
)
def test_the_question_before_spending_can_be_answered_no_or_interrupted(recorded_task, typed, code, said):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "agenttts", "optimize", str(priced(recorded_task)), *ALLOCATOR],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
            if b"[y/N]" in shown and typed:
                os.write(master, typed)
                typed = b""
    except OSError:  # how Linux tells that the other side is closed
        pass
    process.communicate(timeout=60)
    assert process.returncode == code, shown.decode()
    assert said in shown.decode()
    assert b"Aborted" not in shown
    assert not Path("runs").exists()


def test_a_run_folder_that_cannot_be_made_is_an_input_error(recorded_task):
    Path("file").write_text("no folder")
    done = agenttts("optimize", recorded_task, *ALLOCATOR, "--run", "file/run")
    assert done.returncode == 2, done.stderr
    assert "file/run" in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_result_that_cannot_be_written_is_told_and_is_no_bug(form):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agenttts", "models", *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "error: standard output cannot be written: No space left on device"


# --- check, evaluate, lists ----------------------------------------------------------------------------------------


def test_check_shows_task_space_and_quote_and_spends_nothing(recorded_task):
    done = agenttts("check", recorded_task)
    assert done.returncode == 0, done.stderr
    for word in (
        "task sums",
        "stage answer (needs think)",
        "allocations, of which",
        "expected",
        "worst case",
    ):
        assert word in done.stdout
    assert list(Path().iterdir()) == []


def test_check_as_json_gives_the_quote(recorded_task):
    data = json.loads(agenttts("check", recorded_task, "--json").stdout)
    space, quote = data["space"], data["quote"]
    assert 0 < space["n_feasible"] <= space["n_allocations"] == 36
    assert 0 < quote["expected"]["cost"]["flops"] <= quote["worst"]["cost"]["flops"]
    assert data["n_search"] == 20


def test_the_unit_of_the_budget_can_be_overridden(recorded_task):
    data = json.loads(agenttts("check", recorded_task, "--budget", "200tokens", "--json").stdout)
    assert data["budget"] == {"amount": 200.0, "unit": "tokens"}


def test_a_price_that_is_missing_is_named_and_not_taken_for_0(recorded_task):
    done = agenttts("check", recorded_task, "--budget", "1usd")
    assert done.returncode == 2
    assert "rec/small" in done.stderr
    assert "price" in done.stderr


def test_evaluate_scores_the_plan_as_the_confirmation_did(recorded_task):
    result = optimize_json(recorded_task)
    done = agenttts("evaluate", result["plan"]["path"], "--json")
    assert done.returncode == 0, done.stderr
    score = json.loads(done.stdout)
    assert score["allocation"] == result["best"]["allocation"]
    assert score["score"]["mean"] == result["confirmation"]["winner"]["mean"]
    assert score["n_paid"] == 0
    assert score["spent"]["flops"] == 0
    few = agenttts("evaluate", Path(result["run"]), "--split", "search", "--n", "5")
    assert few.returncode == 0, few.stderr
    assert "on 5 problems of split search" in " ".join(few.stdout.split())


def test_evaluate_without_a_plan_is_an_input_error(tmp_path):
    done = agenttts("evaluate", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "none.yaml" in done.stderr


def test_the_catalogue_lists_tasks_and_models():
    names = {task["name"] for task in json.loads(agenttts("tasks", "--json").stdout)["tasks"]}
    cards = {card["name"]: card for card in json.loads(agenttts("models", "--json").stdout)["models"]}
    assert "tiny" in names
    assert cards["tiny/xs"]["parameters"] < cards["tiny/l"]["parameters"] < 1e6
    assert "tiny/xs" in agenttts("models").stdout


def test_runs_tells_status_best_and_spent(recorded_task):
    result = optimize_json(recorded_task)
    listed = agenttts("runs")
    assert listed.returncode == 0, listed.stderr
    assert f"{result['run']}  finished, 6 trials" in listed.stdout
    entry = json.loads(agenttts("runs", "--json").stdout)["runs"][0]
    assert entry["best"] == result["best"]["allocation"]
    assert entry["resume"] is None


def test_a_run_that_cannot_be_read_does_not_hide_the_others(recorded_task):
    optimize_json(recorded_task)
    bad = Path("runs/bad")
    bad.mkdir()
    (bad / "events.jsonl").write_text('{"format": 99, "event": "started"}\n')
    listed = agenttts("runs").stdout
    assert "cannot be read" in listed
    assert "finished, 6 trials" in listed


def test_what_a_model_wrote_cannot_steer_the_terminal(recorded_task):
    """A provider's message with terminal escapes ends up in the list of failures, cleaned."""
    table = recorded_task.parent / "draws.csv"
    table.write_text(table.read_text().replace("It is", "\x1b[31m[bold]It is\x07"))
    done = agenttts("optimize", recorded_task, *ALLOCATOR)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


# --- serve-models --------------------------------------------------------------------------------------------------


def test_an_open_address_needs_a_key():
    done = agenttts("serve-models", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--api-key-env" in done.stderr


def test_a_taken_port_is_an_error_before_anything_is_announced():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = agenttts("serve-models", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "Serving" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "in use" in done.stderr


def test_the_variable_of_the_key_must_be_set():
    done = agenttts("serve-models", "--api-key-env", "AGENTTTS_TEST_NO_SUCH_KEY")
    assert done.returncode == 2
    assert "AGENTTTS_TEST_NO_SUCH_KEY" in done.stderr


def test_served_models_are_listed_to_those_who_have_the_key_until_ctrl_c():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "agenttts",
        "serve-models",
        "--port",
        str(port),
        "--api-key-env",
        "MY_KEY",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "MY_KEY": "secret-of-test"}
    )
    try:
        names = ask_for_models(port, "secret-of-test")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask_for_models(port, "wrong")
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert names == ["tiny/xs", "tiny/s", "tiny/m", "tiny/l"]
    assert process.returncode in {0, 130}
    assert f"http://127.0.0.1:{port}/v1" in err
    assert "secret-of-test" not in err
    assert "Traceback" not in err


def ask_for_models(port: int, key: str) -> list[str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {key}"}
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - our own server
                return [model["id"] for model in json.load(reply)["data"]]
        except urllib.error.HTTPError:
            raise
        except OSError:  # not listening yet
            assert time.monotonic() < deadline
            time.sleep(0.1)


# --- what a result must tell ---------------------------------------------------------------------------------------


def rewrite(path: Path, old: str, new: str, n: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, n))


def rewrite_draws(task: Path, change) -> None:
    path = task.parent / "draws.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [change(row) for row in rows]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_estimated_token_counts_are_said_to_be_estimates(recorded_task):
    rewrite_draws(recorded_task, lambda row: {k: v for k, v in row.items() if not k.endswith("_tokens")})
    result = optimize_json(recorded_task)
    assert result["counted_by"] == {"rec/large": ["chars/4"], "rec/small": ["chars/4"]}
    note = "tokens of rec/small were estimated by chars/4"
    assert any(one.startswith(note) for one in result["token_counts"])
    assert note in " ".join(agenttts("optimize", recorded_task, *ALLOCATOR).stdout.split())
    plan = yaml.safe_load(Path(result["plan"]["path"]).read_text())
    used = sorted({choice["model"] for choice in plan["allocation"]})
    assert plan["measured"]["counted_by"] == {model: ["chars/4"] for model in used}
    assert plan["measured"]["token_counts"]
    assert "estimated by chars/4" in " ".join(agenttts("evaluate", result["plan"]["path"]).stdout.split())
    scored = json.loads(agenttts("evaluate", result["plan"]["path"], "--json").stdout)
    assert scored["counted_by"] == plan["measured"]["counted_by"]


def test_true_token_counts_need_no_remark(recorded_task):
    result = optimize_json(recorded_task)
    assert (result["counted_by"], result["token_counts"]) == ({}, [])


def test_many_samples_that_match_no_rule_are_told_from_a_bad_model(recorded_task):
    def silent(row):
        return {**row, "text": "no idea"} if int(row["problem_id"][1:]) >= 8 else row

    rewrite_draws(recorded_task, silent)  # the pilot sees the first eight problems alone
    result = optimize_json(recorded_task)
    entry = result["best"]["unparsed"]["answer"]
    assert entry["n"] / entry["n_samples"] == 12 / 20
    assert entry["example"] == "no idea"
    out = " ".join(agenttts("optimize", recorded_task, *ALLOCATOR).stdout.split())
    assert (
        f"unparsed stage think: 60% of {result['best']['unparsed']['think']['n_samples']} samples of" in out
    )
    assert "matched no parse rule (last_number)" in out
    scored = json.loads(agenttts("evaluate", result["plan"]["path"], "--json").stdout)
    assert scored["unparsed"]["answer"]["n"] == scored["unparsed"]["answer"]["n_samples"]


def test_a_rule_that_matches_nothing_in_the_pilot_stops_before_the_search(recorded_task):
    rewrite(recorded_task, "parse: last_number", "parse: {rule: regex, pattern: 'Answer: (.*)'}", 1)
    rewrite_draws(recorded_task, lambda row: {**row, "text": "\x1b[2Jno\nway" + "y" * 300})
    done = agenttts("optimize", recorded_task, *ALLOCATOR)
    assert done.returncode == 2, done.stderr
    assert "stages.think.parse: the rule regex 'Answer: (.*)' found no answer in any" in done.stderr
    assert "replied: '\\x1b[2Jno\\nway" in done.stderr
    assert "\x1b" not in done.stderr
    assert "y" * 201 not in done.stderr
    assert not list(Path("runs").glob("*/plan.yaml"))


def test_a_quote_from_unknown_lengths_is_an_upper_figure_and_names_the_keys(recorded_task):
    key = "stages.think.lengths.decode_tokens"
    known = agenttts("check", recorded_task).stdout
    assert key not in known
    assert re.search(r"^expected +\d", known, re.M)
    rewrite(recorded_task, "    lengths: {prefill_tokens: 10, decode_tokens: 5}\n", "")
    assert key not in agenttts("check", recorded_task, "--budget", "10").stdout  # the recorded draws tell it
    table = recorded_task.parent / "draws.csv"
    table.write_text(table.read_text().replace("decode_tokens", "tokens_that_nothing_reads", 1))
    unknown = agenttts("check", recorded_task, "--budget", "10")
    assert key in unknown.stdout
    assert re.search(r"^at most +\d", unknown.stdout, re.M)
    assert not re.search(r"^expected +\d", unknown.stdout, re.M)
    done = agenttts("optimize", recorded_task, *ALLOCATOR, "--budget", "10")
    assert key in done.stderr
    assert "takes at most" in done.stderr
