"""Replies of planners: what is read from them, what is left out, and how a round is made up."""

import json

import numpy as np
import pytest

from agenttts.allocators.base import AllocatorOptions, Briefing, StageBriefing, make_allocator
from agenttts.allocators.conversing import (
    Wish,
    clean,
    filled,
    json_values,
    read_wishes,
    reply_schema,
    space_facts,
    trial_facts,
)
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import InputError
from agenttts.pipeline.base import StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import chain_space

SPACE = chain_space(2, {"s": 1.0, "l": 16.0}, (1, 4, 16), selectors=("vote", "best"), budget=40.0)


def item(first: object, second: object = None, **more: object) -> dict[str, object]:
    second = second or {"model": "s", "n_samples": 1}
    return {"stages": {"stage0": first, "stage1": second}, **more}


def read(*items: object) -> tuple[list[str], tuple[str, ...]]:
    reading = read_wishes(json.dumps({"allocations": items}), SPACE)
    return [str(wish.allocation) for wish in reading.wishes], reading.notes


def test_a_well_formed_reply_is_read_in_order_with_its_reasons():
    text = json.dumps(
        {
            "allocations": [
                item({"model": "l", "n_samples": 1, "select": "vote"}, reason="large"),
                item({"model": "s", "n_samples": 16, "select": "best"}, reason="many"),
            ]
        }
    )
    reading = read_wishes(f"Here you are:\n```json\n{text}\n```\nGood luck [1]!", SPACE)
    assert [(str(w.allocation), w.reason) for w in reading.wishes] == [
        ("stage0 l x1; stage1 s x1", "large"),
        ("stage0 s x16 best; stage1 s x1", "many"),
    ]
    assert reading.notes == ()


def test_of_a_reply_that_is_cut_off_the_whole_allocations_are_read():
    text = json.dumps(
        {"allocations": [item({"model": "l", "n_samples": 1}), item({"model": "s", "n_samples": 4})]}
    )
    reading = read_wishes(text[:-20], SPACE)
    assert [str(wish.allocation) for wish in reading.wishes] == ["stage0 l x1; stage1 s x1"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"model": "s", "n_samples": 15}, "s x4 vote"),
        ({"model": "s", "n_samples": 3}, "s x1"),
        ({"model": "s", "n_samples": 10**30}, "s x16 vote"),
        ({"model": "s", "n_samples": 4.0}, "s x4 vote"),
        ({"model": "s", "n_samples": "4"}, "s x4 vote"),
        ({"model": "s", "n_samples": 4, "select": "unheard-of"}, "s x4 vote"),
        ({"model": "s", "n_samples": 4, "select": ["best"]}, "s x4 vote"),
        ({"model": "s", "n_samples": 4, "select": "best", "temperature": 2}, "s x4 best"),
    ],
)
def test_what_is_nearly_right_becomes_the_nearest_on_offer(said, meant):
    assert read(item(said)) == ([f"stage0 {meant}; stage1 s x1"], ())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"model": "xl", "n_samples": 1}, "stage stage0 has no model 'xl'"),
        ({"model": None, "n_samples": 1}, "stage stage0 has no model None"),
        ({"model": "s", "n_samples": 0}, "n_samples is 0, expected a whole number of at least 1"),
        ({"model": "s", "n_samples": True}, "n_samples is True"),
        ({"model": "s", "n_samples": 1.5}, "n_samples is 1.5"),
        ({"model": "s", "n_samples": float("nan")}, "n_samples is nan"),
        ({"model": "s"}, "n_samples is None"),
        ("s", "nothing for stage stage0"),
    ],
)
def test_what_cannot_be_meant_is_left_out_and_named(said, why):
    allocations, notes = read(item(said), item({"model": "s", "n_samples": 4}))
    assert allocations == ["stage0 s x4 vote; stage1 s x1"]
    assert len(notes) == 1
    assert why in notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        "[" * 100_000,
        '{"a":' * 100_000,
        "{" * 10**6,
        '{"allocations": 1}',
        "null",
        "\x00\x1b[31m",
        "[[1]]",
    ],
)
def test_a_reply_without_an_allocation_says_so_and_is_repeated_in_short(text):
    reading = read_wishes(text, SPACE)
    assert reading.wishes == ()
    assert len(reading.notes) == 1
    assert len(reading.notes[0]) < 300
    assert "\x1b" not in reading.notes[0]


def test_a_thousand_mistakes_are_not_a_thousand_notes():
    _, notes = read(*(item({"model": f"m{i}", "n_samples": 1}) for i in range(500)))
    assert len(notes) == 13
    assert notes[-1] == "and 488 more such notes"


def test_levels_are_read_as_the_middle_of_their_share():
    # Counts 1, 4, 16 in five levels: middles at 0.3, 0.9, 1.5, 2.1 and 2.7 of three places.
    levels = ("very low", "low", "medium", "high", "very high")
    counts = []
    for level in levels:
        text = json.dumps(
            {"allocations": [item({"model": "s", "level": level}, {"model": "s", "level": "very low"})]}
        )
        counts.append(read_wishes(text, SPACE, levels=levels).wishes[0].allocation["stage0"].n_samples)
    assert counts == [1, 1, 4, 16, 16]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (0.5, "l x1 below 0.5"),
        (0, "off"),
        (0.6, "l x1 below 0.5"),
        (None, "l x1 below 0.9"),
        (7, "l x1 below 0.9"),
    ],
)
def test_the_threshold_of_a_conditional_stage_is_the_nearest_or_the_highest(said, meant):
    first = (StageChoice("try", "m", 1, "first"),)
    second = (
        StageChoice("escalate", "m", 1, "first", 0.0),
        *(StageChoice("escalate", model, 1, "first", below) for below in (0.5, 0.9) for model in "ml"),
    )
    space = Space((first, second), ((1.0,), (0.0, 0.5, 2.5, 0.9, 4.5)), Budget(6.0, Unit.TOKENS))
    assert reply_schema(space)["properties"]["allocations"]["items"]["properties"]["stages"]["properties"][
        "escalate"
    ]["properties"]["below"]["enum"] == [0.0, 0.5, 0.9]
    stages = {
        "try": {"model": "m", "n_samples": 1},
        "escalate": {"model": "l", "n_samples": 1, "below": said},
    }
    (wish,) = read_wishes(json.dumps({"allocations": [{"stages": stages}]}), space).wishes
    assert str(wish.allocation) == f"try m x1; escalate {meant}"


def test_a_wish_over_the_budget_is_shrunk_or_dropped():
    (dear,) = read_wishes(json.dumps(item({"model": "l", "n_samples": 4})), SPACE).wishes
    shrunk, _ = filled([dear], Archive(), SPACE, 1, np.random.default_rng(0), origin="x")
    assert str(shrunk[0].allocation) == "stage0 l x1; stage1 s x1"
    assert shrunk[0].repaired == "stage0 l x4 vote -> stage0 l x1"
    drawn, notes = filled([dear], Archive(), SPACE, 1, np.random.default_rng(0), origin="x", repair=False)
    assert drawn[0].reason == "random, the planner had no further usable proposal"
    assert notes == [
        "left out a proposal over the budget: stage0 l x4 vote; stage1 s x1",
        "1 of 1 proposals drawn at random",
    ]


def test_known_and_repeated_wishes_are_left_out_and_the_round_filled():
    wishes = read_wishes(
        json.dumps([item({"model": "l", "n_samples": 1}), item({"model": "s", "n_samples": 4})]), SPACE
    )
    known = Archive.of([Trial(0, wishes.wishes[0].allocation, "ok", {"p": 1.0}, 17.0)])
    proposals, notes = filled(
        [*wishes.wishes, Wish(wishes.wishes[1].allocation)],
        known,
        SPACE,
        3,
        np.random.default_rng(0),
        origin="x",
    )
    assert str(proposals[0].allocation) == "stage0 s x4 vote; stage1 s x1"
    assert len({p.allocation for p in proposals}) == 3
    assert "left out a proposal that is known: stage0 l x1; stage1 s x1" in notes
    assert "2 of 3 proposals drawn at random" in notes


def test_text_is_cut_and_loses_its_control_characters():
    assert clean("a\x1b[31mb\nc\x00", 10) == "a[31mb\nc"
    assert clean("x" * 50, 10) == "x" * 9 + "…"


def test_json_is_found_in_prose():
    assert list(json_values('see {"a": [1]} and [2, {"b": 3}] {')) == [{"a": [1]}, [2, {"b": 3}]]


def test_the_schema_accepts_the_documented_form_and_names_everything_on_offer():
    import jsonschema

    schema = reply_schema(SPACE)
    choice = {"model": "l", "n_samples": 4, "select": "best"}
    jsonschema.validate({"allocations": [item(choice, choice, reason="r")]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"allocations": [item(choice | {"n_samples": 5}, choice, reason="r")]}, schema)


def test_a_briefing_is_told_and_a_missing_one_does_no_harm():
    stage = StageBriefing("stage0", "find passages", {"s": "7B parameters"})
    facts = space_facts(Briefing("qa", "questions", "EM", (stage,)), SPACE)
    assert (facts["task"], facts["metric"], facts["budget"]) == ("qa", "EM", "40 tokens")
    assert facts["stages"][0]["purpose"] == "find passages"
    assert facts["stages"][0]["models"][0] == {
        "name": "s",
        "about": "7B parameters",
        "fewest": 1,
        "most": 16,
        "one": "1 tokens",
        "more": "16 tokens",
    }
    assert facts["stages"][1]["purpose"] == ""


def test_trials_are_told_by_their_estimates_in_order():
    a, b = (SPACE.allocation(row) for row in SPACE.feasible_indices()[:2])
    archive = Archive.of(
        [
            Trial(1, b, "stopped", {"easy": 1.0}, 3.0),
            Trial(0, a, "ok", {"easy": 1.0, "hard": 0.0}, 2.0),
            Trial(2, b, "invalid", {}, 0.0),
        ]
    )
    facts = trial_facts(archive, SPACE)
    assert [(f["number"], f["score"], f["remark"]) for f in facts] == [
        (0, "0.500", ""),
        (1, "0.500", "stopped early"),
    ]


@pytest.mark.parametrize("name", ["agenttts", "llm_zs", "mlcopilot", "agenthpo"])
def test_an_unknown_switch_is_refused(name):
    with pytest.raises(InputError, match="switch 'no_insight9' is unknown"):
        make_allocator(name, AllocatorOptions(switches={"no_insight9": True}))


def test_a_switch_is_on_or_off():
    with pytest.raises(InputError, match="expected true or false"):
        make_allocator("agenttts", AllocatorOptions(switches={"no_insight1": "yes"}))


@pytest.mark.parametrize(
    ("said", "understood"), [(True, 1.01), (False, 1.01), (0, 0.0), (0.5, 0.5), (None, 1.01)]
)
def test_a_threshold_is_a_number_and_no_boolean(said: object, understood: float):
    stages = (
        (StageChoice("answer", "m", 1, "first"),),
        tuple(StageChoice("escalate", "m", 1, "first", below) for below in (0.0, 0.5, 1.01)),
    )
    space = Space(stages, ((1.0,), (0.0, 1.0, 1.0)), Budget(4.0, Unit.TOKENS))
    one = {"model": "m", "n_samples": 1, "select": "first"}
    text = json.dumps({"allocations": [{"stages": {"answer": one, "escalate": {**one, "below": said}}}]})
    (wish,) = read_wishes(text, space).wishes
    assert wish.allocation["escalate"].below == understood
