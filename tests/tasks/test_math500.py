"""MATH-500 over HTTP on models and a reward model that a script plays; expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

RECTANGLE = "three times as long as it is wide"  # 108
ROOT = "Find the positive root"  # 1 + 2 sqrt 3
DICE = "Two fair dice"  # 7/36
INTERVAL = "Answer in interval notation"  # [-1, 4]
POWERS = "What is the remainder when"  # 1
POLAR = "in polar coordinates"  # (4, 3 pi / 2)

SCRIPT = rules(
    (RECTANGLE, ["sure step\n\n\\boxed{108}", "shaky step\n\n\\boxed{96}", "shaky step\n\n\\boxed{96}"]),
    (ROOT, ["shaky step\n\n\\boxed{2\\sqrt{3}+1}", "shaky step\n\n\\boxed{1+\\sqrt{12}}", "sure step\n\n\\boxed{13}"]),
    (DICE, ["sure step\n\nThe answer is 7/36.", "shaky step\n\n\\boxed{7/36}", Reply("sure step, and so", cut_off=True)]),
    (INTERVAL, ["sure step\n\n\\boxed{-1 \\le x \\le 4}", "shaky step\n\n\\boxed{[-1,4]}", "shaky step\n\n\\boxed{(-1,4)}"]),
    (POWERS, Reply("the model is gone", status=400)),
    (POLAR, ["shaky step\n\n\\boxed{(4, 270^\\circ)}", "sure step\n\n\\boxed{(4,\\frac{3\\pi}2)}", "shaky step\n\n\\boxed{(4,0)}"]),
)  # fmt: skip


def mark(step: str) -> float:
    """Return what the reward model thinks of a step: 0.9 of a sure one, 0.2 of a shaky one, 0.8 of all others."""
    return 0.9 if "sure" in step else 0.2 if "shaky" in step else 0.8


def played_by(way: str) -> Played:
    return play("math500", SCRIPT, [("solve", "qwen2.5-7b", 3, way)], mark=mark)


def by_subject(played: Played, values: dict[str, object]) -> dict[str, object]:
    return {name.split("/")[1]: value for name, value in values.items()}


@pytest.fixture(scope="module")
def voted() -> Played:
    return played_by("majority")


@pytest.fixture(scope="module")
def judged() -> Played:
    return played_by("best_of_n(prm)")


def test_votes_choose_the_commonest_answer(voted: Played) -> None:
    # RECTANGLE 96 twice, wrong. ROOT: 2 sqrt 3 + 1 and 1 + sqrt 12 are equal as mathematics. DICE has one boxed answer.
    # INTERVAL one vote each, so the first: an inequality, which math-verify does not take for the interval asked for.
    # POLAR: the first; 270 degrees are not taken for 3 pi / 2 either.
    assert by_subject(voted, dict(voted.scores)) == {
        "prealgebra": 0.0,
        "algebra": 1.0,
        "counting": 1.0,
        "intermediate": 0.0,
        "precalculus": 0.0,
    }


def test_the_reward_model_chooses_by_the_worst_step(judged: Played) -> None:
    # RECTANGLE: the first, 0.8 against 0.2. ROOT: the third, 13, which is wrong. DICE: the first is liked, has no boxed
    # answer, and is left out of the choice. INTERVAL: nobody is sure, so the first; POLAR the second.
    assert by_subject(judged, dict(judged.scores)) == {
        "prealgebra": 1.0,
        "algebra": 0.0,
        "counting": 1.0,
        "intermediate": 0.0,
        "precalculus": 1.0,
    }


def test_single_samples_are_scored(voted: Played) -> None:
    samples = by_subject(voted, dict(voted.evaluation.sample_scores["solve"]))
    assert samples["prealgebra"] == (1.0, 0.0, 0.0)
    assert samples["algebra"] == (1.0, 1.0, 0.0)
    assert samples["counting"] == (0.0, 1.0, 0.0)


def test_a_refused_problem_is_told_and_has_no_score(voted: Played) -> None:
    assert list(by_subject(voted, dict(voted.failures))) == ["number_theory"]
    (failure,) = voted.failures.values()
    assert "the model is gone" in failure.message


def test_what_the_reward_model_reads_is_charged(voted: Played, judged: Played) -> None:
    # Samples: 100 read, 3 x 10 written by 7.61e9 parameters. The reward model has 7.08e9.
    samples = 2 * 7.61e9 * (100 + 30)
    assert voted.evaluation.costs["solve"].linear_flops == pytest.approx(2 * 7.6e9 * 130, rel=0.1)
    assert judged.evaluation.costs["solve"].prefill_tokens > voted.evaluation.costs["solve"].prefill_tokens
    assert voted.evaluation.costs["solve"].flops == pytest.approx(samples, rel=0.01)
