"""Verifiers as scorers of inspect_ai, on outputs of any model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval  # noqa: A004
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from agenttts.harness.inspect import verifier
from tests.models.local_server import completion, error, local_server

CARD = """format: 1
models:
  grader: {{source: openai, base_url: "{url}", parameters: 1.0e+9, price: {{input_per_million_usd: 1, output_per_million_usd: 2}}}}
"""


def scored(
    tmp_path: Path, outputs: list[str], samples: list[Sample], *args: object, **settings: object
) -> EvalLog:
    """Return the log of an evaluation in which the model says `outputs`, one sample after another."""
    said = [ModelOutput.from_content("mockllm", text) for text in outputs]
    for output in said:
        output.usage = ModelUsage()  # it would fetch a tokeniser from the network to count them
    (log,) = eval(
        Task(dataset=MemoryDataset(samples), scorer=verifier(*args, **settings)),
        model=get_model("mockllm/model", custom_outputs=said),
        log_dir=str(tmp_path / "logs"),
        display="none",
        max_samples=1,
    )
    assert log.status == "success", log.error
    return log


def values(log: EvalLog) -> list[float]:
    return [sample.scores["verifier"].value for sample in log.samples]


@pytest.mark.parametrize(
    ("kind", "settings", "outputs", "target", "expected"),
    [
        ("numeric", {}, ["so it is 42.", "43", "no idea"], "42", [1, 0, 0]),
        ("numeric", {"tolerance": 0.05}, ["about 43", "50"], "42", [1, 0]),
        ("exact", {}, ["The Cat", "dog"], "cat", [1, 0]),
        ("exact", {}, ["dog"], ["cat", "dog"], [1]),
        ("math", {}, [r"thus \boxed{\frac{1}{2}}", "0.5", r"\boxed{2}"], "1/2", [1, 1, 0]),
        ("token_f1", {}, ["big cat"], "cat", [2 / 3]),
        ("regex", {"pattern": "[0-9]+"}, ["12", "x"], "", [1, 0]),
        ("exact", {"parse": {"rule": "regex", "pattern": "is (\\w+)"}}, ["it is Paris now"], "Paris", [1]),
    ],
)
def test_rules_score_what_is_found_in_the_text(tmp_path, kind, settings, outputs, target, expected):
    samples = [Sample(input="?", target=target) for _ in outputs]
    assert values(scored(tmp_path, outputs, samples, kind, **settings)) == pytest.approx(expected)


def test_programs_run_against_the_tests_in_the_metadata(tmp_path):
    samples = [Sample(input="Add.", metadata={"suite": "assert add(1, 2) == 3"}) for _ in range(2)]
    outputs = [f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-"]
    log = scored(tmp_path, outputs, samples, "code", tests="suite")
    assert values(log) == [1, 0]
    assert "assert" in log.samples[1].scores["verifier"].explanation


def test_gold_may_stand_in_the_metadata(tmp_path):
    samples = [Sample(input="?", target="1", metadata={"right": {"value": 2}})]
    assert values(scored(tmp_path, ["2"], samples, "numeric", gold="right.value")) == [1]


def test_what_cannot_be_scored_has_no_score_and_is_left_out_of_the_mean(tmp_path):
    samples = [Sample(input="?", target=target) for target in ("42", "")]
    log = scored(tmp_path, ["42", "42"], samples, "numeric")
    first, second = values(log)
    assert first == 1
    assert math.isnan(second)
    assert "empty" in log.samples[1].scores["verifier"].explanation
    assert log.results.scores[0].metrics["mean"].value == 1
    assert log.results.scores[0].unscored_samples == 1


def test_a_judge_asks_its_model_and_tells_what_it_cost(tmp_path, monkeypatch):
    replies = iter(['{"mark": 10}', '{"mark": 5}', "no mark at all"])

    def script(body):
        return completion(body, contents=[next(replies)])

    with local_server(script) as server:
        (tmp_path / "budgets" / "models").mkdir(parents=True)
        (tmp_path / "budgets" / "models" / "mine.yaml").write_text(CARD.format(url=server.url))
        monkeypatch.chdir(tmp_path)
        samples = [Sample(input=f"Question {i}?") for i in range(3)]
        log = scored(tmp_path, ["a", "b", "c"], samples, "judge", model="grader", rubric="right")
        assert "Question 0?" in str(server.bodies[0]["messages"])
    assert values(log)[:2] == [1, 0.5]
    assert math.isnan(values(log)[2])
    cost = log.samples[0].scores["verifier"].metadata["cost"]
    assert cost["usd"] == pytest.approx((7 * 1 + 3 * 2) * 1e-6)  # see local_server


def test_a_judge_that_cannot_be_reached_leaves_samples_unscored(tmp_path, monkeypatch):
    with local_server(lambda body: error(400, "too long")) as server:
        (tmp_path / "budgets" / "models").mkdir(parents=True)
        (tmp_path / "budgets" / "models" / "mine.yaml").write_text(CARD.format(url="http://127.0.0.1:1/v1"))
        monkeypatch.chdir(tmp_path)
        samples = [Sample(input="?")]
        log = scored(tmp_path, ["a"], samples, "judge", model="grader", endpoint=server.url)
    assert math.isnan(values(log)[0])
    assert "too long" in log.samples[0].scores["verifier"].explanation


def test_a_verifier_card_is_known_by_its_name_and_settings_come_before_its_own(tmp_path, monkeypatch):
    (tmp_path / "verifiers").mkdir()
    card = "format: 1\nverifier: {kind: numeric, tolerance: 0.5}\n"
    (tmp_path / "verifiers" / "about.yaml").write_text(card)
    monkeypatch.chdir(tmp_path)
    samples = [Sample(input="?", target="42")]
    assert values(scored(tmp_path, ["43"], samples, "about")) == [1]
    assert values(scored(tmp_path, ["43"], samples, "about", tolerance=0.001)) == [0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "numric"}, "numeric"),
        ({"kind": "agreement"}, "how samples were drawn"),
        ({"kind": "numeric", "tolerence": 1}, "tolerence"),
        ({"kind": "judge", "model": "nosuch"}, "no model card"),
        ({"kind": "function", "function": "scores.py:f"}, "trust=true"),
        ({"kind": "judge"}, "needs `model`"),
        ({"kind": "numeric", "parse": "nosuch"}, "rule"),
    ],
)
def test_settings_that_cannot_be_used_are_told_before_the_evaluation(settings, said):
    with pytest.raises(PrerequisiteError, match=said):
        verifier(**settings)


def test_a_function_scores_where_it_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "scores.py").write_text(
        "def f(fields, answer, text):\n    return float(fields['input'] in text)\n"
    )
    monkeypatch.chdir(tmp_path)
    log = scored(tmp_path, ["it is so"], [Sample(input="so")], "function", function="scores.py:f", trust=True)
    assert values(log) == [1]
