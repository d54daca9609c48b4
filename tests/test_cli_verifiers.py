"""`agenttts verifiers`: what it lists, and what it says of a verifier on labelled draws."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts._cli.verifiers import ABOUT
from agenttts.cli import app
from agenttts.verifiers.named import KINDS


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the draws of the tiny task are kept between tests."""
    return f"sqlite:///{tmp_path_factory.mktemp('draws') / 'samples.sqlite'}"


def tiny(verifier: str, store: str, *more: str) -> Result:
    settings = ("--task", "tiny", "--n", "12", "--samples", "4", "--store", store)
    return agenttts("verifiers", "check", verifier, *settings, *more)


def test_every_kind_is_listed_with_what_it_does():
    done = agenttts("verifiers")
    assert done.exit_code == 0, done.stderr
    assert set(ABOUT) == set(KINDS)
    for kind in KINDS:
        assert re.search(rf"^{kind} +\w", done.stdout, re.MULTILINE), kind


def test_cards_of_the_project_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verifiers").mkdir()
    (tmp_path / "verifiers" / "mine.yaml").write_text("description: How alike.\nverifier: agreement\n")
    (tmp_path / "verifiers" / "broken.yaml").write_text("verifier: [\n")
    cards = {card["name"]: card for card in json.loads(agenttts("verifiers", "--json").stdout)["cards"]}
    path = str(tmp_path / "verifiers" / "mine.yaml")
    assert cards["mine"] == {"name": "mine", "path": path, "does": "How alike."}
    assert cards["broken"]["does"].startswith("cannot be read: ")
    assert "How alike." in agenttts("verifiers").stdout


def test_best_of_n_by_agreement_is_the_vote(place: str):
    assert "Scores compare all 4 samples of a problem" in words(tiny("agreement", place).stdout)
    last = json.loads(tiny("agreement", place, "--json").stdout)["check"]["selected"][-1]
    assert last["verifier"]["mean"] == last["majority"]["mean"]


def test_how_sure_a_model_was_is_checked_with_the_probabilities_of_its_tokens(place: str):
    done = json.loads(tiny("self_certainty", place, "--json").stdout)
    assert done["check"]["n_scored"] == 48
    assert done["unscored_because"] == ""


def test_a_verifier_that_can_score_nothing_says_why(recorded_task: Path):
    done = agenttts("verifiers", "check", "self_certainty", "--task", recorded_task, "--samples", "2")
    assert done.exit_code == 4
    assert "The verifier gave no sample a score" in words(done.stdout)
    assert "no log-probabilities of its tokens" in words(done.stdout)


def test_the_tiny_reward_model_is_checked_and_a_second_check_pays_nothing(place: str):
    first = tiny("tiny_prm", place)
    assert first.exit_code == 0, first.stderr
    text = words(first.stdout)
    assert "4 of tiny/m for each of 12 search problems, built on translate tiny/l x1" in text
    assert "AUROC" in text
    assert "ECE" in text
    assert "Figures come from tiny models" in text
    again = json.loads(tiny("tiny_prm", place, "--json").stdout)
    assert again["n_paid"] == 0
    assert [row["n"] for row in again["check"]["selected"]] == [1, 2, 4]
    assert 0.5 < again["check"]["auroc"]["mean"] <= 1
    # The label of a way of the task means the same verifier, and so does a block in quotes.
    for name in ("best_of_n(tiny_prm)", "{kind: tiny_prm}"):
        other = json.loads(tiny(name, place, "--json").stdout)
        assert other["check"] == again["check"]


def test_a_card_is_checked_by_its_name(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verifiers").mkdir()
    (tmp_path / "verifiers" / "mine.yaml").write_text("verifier: {kind: tiny_prm, aggregate: last}\n")
    by_kind = json.loads(tiny("{kind: tiny_prm, aggregate: last}", place, "--json").stdout)["check"]
    for name in ("mine", "{card: mine}"):
        assert json.loads(tiny(name, place, "--json").stdout)["check"] == by_kind
    changed = json.loads(tiny("{card: mine, aggregate: product}", place, "--json").stdout)["check"]
    assert changed != by_kind


@pytest.mark.parametrize(
    ("verifier", "told"),
    [
        ("helpful", "verifier judge needs `model`"),
        ("helpful", "{card: helpful, model: CARD}"),
        ("helpfull", "Did you mean `helpful`?"),
        ("{card: helpfull}", "Did you mean `helpful`?"),
    ],
)
def test_a_card_that_cannot_be_used_as_it_is_says_what_it_needs(place: str, verifier: str, told: str):
    done = tiny(verifier, place)
    assert done.exit_code != 0
    assert told in words(done.stderr)


def test_the_oracle_ranks_perfectly_and_leaves_nothing_to_gain(place: str):
    check = json.loads(tiny("oracle", place, "--json").stdout)["check"]
    assert check["auroc"]["mean"] == 1
    assert check["ece"] == check["brier"]["mean"] == 0
    for row in check["selected"]:
        assert row["verifier"]["mean"] == row["oracle"]["mean"]
        assert row["below_oracle"]["verdict"] == "not distinguishable"


def test_recorded_draws_are_checked_at_the_stage_that_is_named(recorded_task: Path):
    settings = ("--task", recorded_task, "--stage", "think", "--model", "rec/large", "--samples", "4")
    done = agenttts("verifiers", "check", '{"kind": "regex", "pattern": "1\\\\d?"}', *settings, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["figures_from"] == "Figures come from recorded draws."
    assert found["allocation"][-1] == {
        "stage": "think", "model": "rec/large", "n_samples": 4, "select": "checked"
    }  # fmt: skip
    # Of the search problems (answers 1 to 20) those with the answers 1 and 10 to 19 look right to that pattern.
    assert found["check"]["n_scored"] == 80
    assert {(b["low"], b["high"]) for b in found["check"]["bins"]} == {(0.0, 0.1), (0.9, 1.0)}
    assert found["check"]["bins"][1]["right"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny_pmr"], "there is no verifier 'tiny_pmr'. Did you mean `tiny_prm`?"),
        (["numeric"], "knows what is right, so there is nothing to check"),
        (["judge"], "verifier judge needs `model`"),
        (["{kind: tiny_prm, agregate: last}"], "agregate: unknown key. Did you mean `aggregate`?"),
        (["{kind: tiny_prm, aggregate: [min, last]}"], "Give each of them one value"),
        (["{kind: [}"], "is not YAML or JSON"),
        (["oracle", "--stage", "solved"], "stage 'solved' is none of the task. Did you mean `solve`?"),
        (["oracle", "--model", "tiny/xl"], "stage solve has no model 'tiny/xl'"),
        (["{kind: judge, model: nobody}"], "there is no model card `nobody`"),
    ],
)
def test_what_cannot_be_checked_is_told_with_the_remedy(arguments: list[str], said: str, tmp_path: Path):
    done = agenttts("verifiers", "check", *arguments, "--task", "tiny", "--store", "memory:")
    assert done.exit_code == 2, done.stdout
    assert said in words(done.stderr)


def test_the_tests_that_score_a_task_are_refused_as_gold_is(recorded_task: Path):
    recorded_task.write_text(
        recorded_task.read_text().replace(
            "    score: {verifier: numeric, gold: answer}\n",
            "    score: {verifier: {kind: code, tests: answer}}\n",
        )
    )
    settings = ("--task", recorded_task, "--stage", "answer", "--store", "memory:")
    done = agenttts("verifiers", "check", "{kind: code, tests: answer}", *settings)
    assert done.exit_code == 2, done.stdout
    assert "scored by the tests in `answer`" in words(done.stderr)
    assert "nothing to check. Name a field with public tests" in words(done.stderr)


def test_a_stage_without_gold_cannot_be_checked(recorded_task: Path):
    recorded_task.write_text(
        recorded_task.read_text().replace("    score: {verifier: numeric, gold: answer}\n", "")
    )
    done = agenttts("verifiers", "check", "oracle", "--task", recorded_task, "--stage", "think")
    assert done.exit_code == 2
    assert "stage 'think' has no gold. Stages with gold: answer." in words(done.stderr)


def test_the_search_budget_stops_the_check(place: str):
    done = agenttts(
        "verifiers", "check", "tiny_prm", "--task", "tiny", "--search-budget", "0.1gflops", "--store", "memory:"
    )  # fmt: skip
    assert done.exit_code == 3
    assert "is used up" in done.stderr
