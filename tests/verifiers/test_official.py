"""Metrics agree with their official definitions: worked examples, and the definitions written again on many cases.

The scripts are named in benchmarks/official.py. Examples are worked by hand from what these scripts do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.sandbox import Limits
from agenttts.verifiers import rules
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.completeness import Completeness
from agenttts.verifiers.executable import ExecutableVerifier
from agenttts.verifiers.rouge import rouge_l
from agenttts.verifiers.tools import node_f1, parameter_f1

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import official

QUESTIONS = official.question_cases(600, seed=1)
PLANS = official.plan_cases(600, seed=1)


# --- SQuAD, HotpotQA, 2WikiMultihopQA


@pytest.mark.parametrize(
    ("golds", "answer", "em"),
    [
        (["Denver Broncos"], "the Denver Broncos.", 1),
        (["Santa Clara, California", "Levi's Stadium"], "levis stadium", 1),
        (["4.2"], "42", 1),  # the script drops the point
        (["1.0"], "1", 0),
        (["A"], "the", 1),  # nothing is left of both
        (["50%"], "50", 1),
    ],
)
def test_squad_exact_match_of_worked_examples(golds: list[str], answer: str, em: float) -> None:
    assert official.squad_exact_match(golds, answer) == em
    assert rules.exact_squad(golds, answer) == em


@pytest.mark.parametrize(
    ("golds", "answer", "squad", "hotpot"),
    [
        # 2 common words; precision 2/3, recall 2/2
        (["Denver Broncos"], "the Denver Broncos team", 4 / 5, 4 / 5),
        # "cat" once and "dog" once are common: 2 of 3 and 2 of 3
        (["cat cat dog"], "cat dog dog", 2 / 3, 2 / 3),
        # precision 1/3, recall 1/1: SQuAD sees one common word, HotpotQA takes yes as a whole
        (["yes"], "yes it is", 1 / 2, 0.0),
        (["no"], "No.", 1.0, 1.0),
        (["a"], "the", 1.0, 0.0),
        (["42"], "4.2", 1.0, 1.0),
    ],
)
def test_f1_of_words_of_worked_examples(golds: list[str], answer: str, squad: float, hotpot: float) -> None:
    assert official.squad_f1(golds, answer) == pytest.approx(squad)
    assert official.hotpot_f1(golds[0], answer) == pytest.approx(hotpot)
    assert rules.token_f1(golds, answer) == pytest.approx(squad)
    assert rules.token_f1(golds, answer, yes_no=True) == pytest.approx(hotpot)


def test_answers_to_questions_score_as_the_scripts_score_them() -> None:
    for golds, answer in QUESTIONS:
        assert rules.exact_squad(golds, answer) == official.squad_exact_match(golds, answer)
        assert rules.token_f1(golds, answer) == pytest.approx(official.squad_f1(golds, answer), abs=1e-12)
        theirs = official.hotpot_f1(golds[0], answer)
        assert rules.token_f1(golds[0], answer, yes_no=True) == pytest.approx(theirs, abs=1e-12)


def test_the_cases_hold_what_the_definitions_differ_in() -> None:
    """Else the comparison would prove little."""
    assert any(rules.exact(golds, answer) != rules.exact_squad(golds, answer) for golds, answer in QUESTIONS)
    assert any(
        official.hotpot_f1(golds[0], answer) != official.squad_f1(golds[:1], answer)
        for golds, answer in QUESTIONS
    )
    assert {rules.exact_squad(golds, answer) for golds, answer in QUESTIONS} == {0.0, 1.0}


def test_retrieval_f1_is_that_of_supporting_facts() -> None:
    # 2 of the 4 named are right, 2 of the 3 wanted are named: 2 * (1/2) * (2/3) / (1/2 + 2/3)
    assert official.hotpot_supporting_f1([1, 2, 3], [2, 3, 4, 5]) == pytest.approx(4 / 7)
    assert rules.set_f1([1, 2, 3], [2, 3, 4, 5]) == pytest.approx(4 / 7)
    assert rules.set_f1([1, 2], [2, 2, 2]) == pytest.approx(official.hotpot_supporting_f1([1, 2], [2, 2, 2]))
    assert rules.set_f1([1], []) == official.hotpot_supporting_f1([1], []) == 0


# --- ROUGE-L


@pytest.mark.parametrize(
    ("gold", "answer", "stemmer", "f"),
    [
        # The example of Lin 2004, section 3.1, of candidates to "police killed the gunman":
        # "police kill the gunman" shares police, the, gunman: 3 of 4 and 3 of 4
        ("police killed the gunman", "police kill the gunman", False, 3 / 4),
        # "the gunman kill police" shares the, gunman in order: 2 of 4 and 2 of 4
        ("police killed the gunman", "the gunman kill police", False, 2 / 4),
        # with stems, killed and kill are the same word
        ("police killed the gunman", "police kill the gunman", True, 1.0),
        # steps are one text: 5 words wanted, 4 given, 4 in order: 2 * 1 * (4/5) / (1 + 4/5)
        (["Call Ann.", "Book a hotel"], ["call ann", "book hotel"], False, 8 / 9),
        ("call Ann", [{"step": "call"}, {"description": "Ann"}], False, 1.0),
        ("call Ann", "", False, 0.0),
        ("call Ann", "!?", False, 0.0),
    ],
)
def test_rouge_l_of_worked_examples(gold: Any, answer: Any, stemmer: bool, f: float) -> None:
    assert rouge_l(gold, answer, stemmer) == pytest.approx(f)


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_l_is_what_the_library_says(stemmer: bool) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    for golds, answer in QUESTIONS:
        theirs = scorer.score("\n".join(golds), answer)["rougeL"].fmeasure
        assert rouge_l(golds, answer, stemmer) == theirs
        if not stemmer:
            assert rouge_l(golds, answer) == pytest.approx(official.rouge_l_by_hand("\n".join(golds), answer))


# --- TaskBench

GOLD = [
    {"task": "make_call", "arguments": [{"name": "to", "value": "Ann"}]},
    {
        "task": "book_hotel",
        "arguments": [{"name": "date", "value": "2024-01-01"}, {"name": "name", "value": "Ritz"}],
    },
]


def arguments(task: str, **values: Any) -> dict[str, Any]:
    return {"task": task, "arguments": [{"name": name, "value": value} for name, value in values.items()]}


@pytest.mark.parametrize(
    ("plan", "n_f1", "t_f1", "v_f1"),
    [
        (GOLD, 1, 1, 1),
        # 1 tool of 1, of 2: 2/3; its argument of 1, of 3: 2/4
        ([arguments("make_call", to="Ann")], 2 / 3, 2 / 4, 2 / 4),
        # all tools; 3 arguments by name, of them 2 by value
        (
            [arguments("make_call", to="Bob"), arguments("book_hotel", date="2024-01-01", name="Ritz")],
            1,
            1,
            4 / 6,
        ),
        # repeats count once, the order does not count; a tool too many: 2 of 3 and 2 of 2
        ([*GOLD[::-1], *GOLD, arguments("send_sms")], 4 / 5, 1, 1),
        # the right arguments of the wrong tool are wrong
        ([arguments("send_sms", to="Ann")], 0, 0, 0),
        ([], 0, 0, 0),
    ],
)
def test_f1_of_plans_of_worked_examples(plan: Any, n_f1: float, t_f1: float, v_f1: float) -> None:
    for ours, items, expected in (
        (node_f1(GOLD, plan), official.node_items, n_f1),
        (parameter_f1(GOLD, plan, values=False), official.name_items, t_f1),
        (parameter_f1(GOLD, plan), official.value_items, v_f1),
    ):
        assert ours == pytest.approx(expected)
        assert official.pooled_f1([items(GOLD)], [items(plan)]) == pytest.approx(expected)


def test_plans_score_as_the_script_scores_one_problem() -> None:
    for gold, plan in PLANS:
        for ours, items in (
            (node_f1(gold, plan), official.node_items),
            (parameter_f1(gold, plan, values=False), official.name_items),
            (parameter_f1(gold, plan), official.value_items),
        ):
            if items(gold) or items(plan):
                assert ours == pytest.approx(official.pooled_f1([items(gold)], [items(plan)]), abs=1e-12)
            else:
                assert ours == 1  # where the script's sums do not notice the problem


def test_the_scripts_figure_of_several_problems_weighs_long_plans_more() -> None:
    """The departure that the docstring names: 1 of 1 and 0 of 3 is 1/2 on average, and 1 right of 4 there."""
    golds, plans = [["a"], ["b", "c", "d"]], [["a"], ["x", "y", "z"]]
    assert sum(node_f1(gold, plan) for gold, plan in zip(golds, plans, strict=True)) / 2 == 1 / 2
    assert official.pooled_f1(golds, plans) == pytest.approx(1 / 4)


def test_a_made_up_tool_is_wrong_here_and_nothing_in_the_script() -> None:
    assert node_f1(["make_call"], ["make_call", "made_up"]) == pytest.approx(2 / 3)
    assert official.pooled_f1([["make_call"]], [["make_call", "made_up"]], official.TOOLS) == 1


# --- ChatDev


async def values(verifier: Verifier) -> dict[str, float | None]:
    candidates = [Candidate("", "", files) for files in official.PROGRAMS.values()]
    scores = await verifier.score(Problem("p", {}), candidates)
    return dict(zip(official.PROGRAMS, (score.value for score in scores), strict=True))


async def test_programs_are_executable_as_in_chatdev_but_where_we_say_so(tmp_path: Path) -> None:
    ours = await values(ExecutableVerifier(Limits(timeout_s=3.0)))
    different = set()
    for name, files in official.PROGRAMS.items():
        folder = tmp_path / name
        folder.mkdir()
        # Those that go on are ended; 2 s are enough for the others to end by themselves.
        if ours[name] != official.chatdev_executability(files, folder, wait_s=2.0):
            different.add(name)
    assert different == {"no Python", "exits with 3"}
    assert ours["no Python"] == ours["exits with 3"] == 0


async def test_programs_are_complete_as_in_chatdev_but_where_we_say_so() -> None:
    ours = await values(Completeness())
    different = {
        name
        for name, files in official.PROGRAMS.items()
        if ours[name] != official.chatdev_completeness(files)
    }
    stricter, milder = (
        {"stub with a docstring", "not implemented"},
        {"list of todos", "own error", "forgiving"},
    )
    assert different == stricter | milder
    assert {ours[name] for name in stricter} == {0}
    assert {ours[name] for name in milder} == {1}
