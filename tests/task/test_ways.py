"""Ways to spend samples, knobs and modes in task files: what they expand to, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from agenttts.errors import TaskFileError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.plan import Plan
from agenttts.task.schema import StageBlock, TaskFile, sampling_parameters
from agenttts.task.task import Task
from agenttts.task.ways import SelectBlock, VerifierBlock
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

Write = Callable[..., Path]
KINDS: tuple[str, ...] = get_args(SelectBlock.model_fields["kind"].annotation)
SCORING = ("weighted_vote", "best_of_n", "adaptive_best", "beam", "dvts", "tree")
NEEDED: dict[str, dict[str, Any]] = {
    **{kind: {"verifier": "tiny_prm"} for kind in SCORING},
    "cascade": {"to": "tiny/m"},
}


def way(kind: str, **settings: Any) -> SelectBlock:
    return SelectBlock.model_validate({"kind": kind, **NEEDED.get(kind, {}), **settings})


def stage(**keys: Any) -> StageBlock:
    return StageBlock.model_validate({"prompt": {"user": "?"}, "models": ["a", "b"], **keys})


# --- knobs


@pytest.mark.parametrize("kind", KINDS)
def test_a_way_without_lists_is_one_way_of_its_own_name(kind: str) -> None:
    (only,) = way(kind).ways
    assert only == way(kind)
    inside = {"cascade": "(to tiny/m)"} | dict.fromkeys(SCORING, "(tiny_prm)")
    assert only.name == kind + inside.get(kind, "")


@pytest.mark.parametrize(
    ("kind", "settings", "labels"),
    [
        (
            "adaptive_vote",
            {"confidence": [0.8, 0.95]},
            ["adaptive_vote[confidence 0.8]", "adaptive_vote[confidence 0.95]"],
        ),
        (
            "adaptive_best",
            {"threshold": [0.8, 0.9], "least_gain": [0, 0.1]},
            [
                f"adaptive_best(tiny_prm)[threshold {t}, least_gain {g}]"
                for t in (0.8, 0.9)
                for g in (0.0, 0.1)
            ],
        ),
        (
            "cascade",
            {"to": ["tiny/m", "tiny/l"], "below": 0.7},
            ["cascade[to tiny/m]", "cascade[to tiny/l]"],
        ),
        (
            "cascade",
            {"to": "tiny/l", "below": [0.5, 0.7], "verifier": "tiny_prm"},
            ["cascade(to tiny/l, tiny_prm)[below 0.5]", "cascade(to tiny/l, tiny_prm)[below 0.7]"],
        ),
        (
            "beam",
            {"width": [2, 4], "verifier": {"kind": "tiny_prm", "aggregate": ["min", "last"]}},
            [f"beam(tiny_prm)[width {w}, aggregate {a}]" for w in (2, 4) for a in ("min", "last")],
        ),
        ("refine", {"threshold": [0.5, 1], "label": "mend"}, ["mend[threshold 0.5]", "mend[threshold 1.0]"]),
    ],
)
def test_each_combination_of_values_is_a_way_with_a_label_of_its_own(
    kind: str, settings: dict[str, Any], labels: list[str]
) -> None:
    ways = way(kind, **settings).ways
    assert [one.name for one in ways] == labels
    for one in ways:
        assert one.ways == (one,)  # each holds one value a knob
        assert SelectBlock.model_validate(one.model_dump()) == one


def test_a_judges_samples_are_a_knob() -> None:
    block = way("best_of_n", verifier={"kind": "judge", "model": "j", "samples": [1, 3]})
    assert [one.name for one in block.ways] == ["best_of_n(judge)[samples 1]", "best_of_n(judge)[samples 3]"]
    assert [one.verifier.samples for one in block.ways if one.verifier] == [(1,), (3,)]


# --- misfits

MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "no verifier": ({"kind": "best_of_n"}, "best_of_n needs `verifier`"),
    "a verifier too many": ({"kind": "majority", "verifier": "tiny_prm"}, "`verifier` is read by "),
    "no model to go to": ({"kind": "cascade"}, "cascade needs `to`"),
    "gold": ({"kind": "best_of_n", "verifier": "exact"}, "compares with gold"),
    "recorded": ({"kind": "best_of_n", "verifier": "recorded"}, "knows what was right"),
    "gold in a critic": ({"kind": "refine", "critic": {"verifier": "numeric"}}, "compares with gold"),
    "a verifier of wholes": (
        {"kind": "beam", "verifier": {"kind": "orm", "model": "m"}},
        "beam needs a verifier that scores steps: gen_prm, prm, tiny_prm",
    ),
    "a value twice": ({"kind": "adaptive_vote", "confidence": [0.9, 0.9]}, "`confidence`: 0.9 stands twice"),
    "an aggregate twice": (
        {"kind": "best_of_n", "verifier": {"kind": "tiny_prm", "aggregate": ["min", "min"]}},
        "`aggregate`: min stands twice",
    ),
    "an empty separator": ({"kind": "beam", "verifier": "tiny_prm", "separator": ""}, "`separator` is empty"),
    "a system part in a turn": (
        {"kind": "refine", "prompt": {"system": "Be kind.", "user": "Again."}},
        "it has no system part of its own",
    ),
    "a critic with two voices": (
        {"kind": "refine", "critic": {"model": "m", "verifier": "tiny_prm"}},
        "`model` is for a model that criticises",
    ),
    "a critic with a knob": (
        {"kind": "refine", "critic": {"verifier": {"kind": "tiny_prm", "aggregate": ["min", "last"]}}},
        "`aggregate` of a critic's verifier takes one value",
    ),
    "a share above 1": ({"kind": "cascade", "to": "m", "below": 1.5}, "less than or equal to 1"),
    "no width": ({"kind": "beam", "verifier": "tiny_prm", "width": 0}, "greater than or equal to 1"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_told(case: str) -> None:
    block, told = MISFITS[case]
    with pytest.raises(ValidationError) as caught:
        SelectBlock.model_validate(block)
    assert told in str(caught.value)


SETTINGS: dict[str, Any] = {
    "prompt": {"user": "x"},
    "sampling": {"max_tokens": 3},
    "model": "m",
    "critic": {},
    "confidence": 0.5,
    "threshold": 0.5,
    "least_gain": 0.5,
    "width": 2,
    "separator": "x",
    "max_steps": 3,
    "to": "m",
    "below": 0.25,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_refused_by_every_way_that_does_not_read_it(name: str) -> None:
    reading = {
        "prompt": {"fusion", "agreed_fusion", "llm_select", "refine", "tree"},
        "sampling": {"fusion", "agreed_fusion", "llm_select"},
        "model": {"llm_select"},
        "critic": {"refine"},
        "confidence": {"adaptive_vote"},
        "threshold": {"adaptive_best", "refine"},
        "least_gain": {"adaptive_best"},
        "width": {"beam", "dvts"},
        "separator": {"beam", "dvts"},
        "max_steps": {"beam", "dvts"},
        "to": {"cascade"},
        "below": {"cascade"},
    }[name]
    for kind in KINDS:
        if kind in reading:
            assert getattr(way(kind, **{name: SETTINGS[name]}), name) is not None
        else:
            with pytest.raises(ValidationError, match=f"`{name}` is read by .*, and not by {kind}"):
                way(kind, **{name: SETTINGS[name]})


VERIFIERS: tuple[str, ...] = get_args(VerifierBlock.model_fields["kind"].annotation)
ESSENTIAL: dict[str, dict[str, Any]] = {
    "regex": {"pattern": "a"},
    "json_schema": {"json_schema": {}},
    "function": {"function": "own.py:f"},
    "code": {"tests": "t"},
    **{kind: {"model": "m"} for kind in ("judge", "orm", "prm", "gen_prm")},
    "similarity": {"model": "m", "field": "f"},
}
OF_VERIFIERS: dict[str, tuple[Any, set[str]]] = {
    "tolerance": (0.5, {"numeric"}),
    "normalise": (False, {"exact"}),
    "yes_no": (True, {"token_f1"}),
    "stemmer": (True, {"rouge_l"}),
    "values": (False, {"parameter_f1"}),
    "pattern": ("x", {"regex"}),
    "json_schema": ({"type": "object"}, {"json_schema"}),
    "function": ("own.py:g", {"function"}),
    "aggregate": ("last", {"function", "tiny_prm", "prm", "gen_prm"}),
    "model": ("n", {"judge", "orm", "prm", "gen_prm", "similarity"}),
    "field": ("g", {"similarity"}),
    "samples": ([1, 3], {"judge", "gen_prm"}),
    "form": ("listwise", {"judge"}),
    "rubric": ("short", {"judge"}),
    "logprobs": (True, {"judge"}),
    "prompt": ({"user": "x"}, {"judge", "gen_prm"}),
    "sampling": ({"max_tokens": 3}, {"judge", "gen_prm"}),
    "separator": ("x", {"prm", "gen_prm"}),
    "execute": (False, {"gen_prm"}),
    "tests": ("u", {"code"}),
    "suite": ("stdin", {"code"}),
    "entry_point": ("x", {"code"}),
    "partial": (True, {"code"}),
    "timeout_s": (3, {"code", "executable", "gen_prm"}),
    "memory_mb": (300, {"code", "executable", "gen_prm"}),
    "isolation": ("process", {"code", "executable", "gen_prm"}),
}
"""Setting of a verifier -> a value that is no default, and the kinds that read it."""


def verifier(kind: str, **settings: Any) -> VerifierBlock:
    return VerifierBlock.model_validate({"kind": kind, **ESSENTIAL.get(kind, {}), **settings})


@pytest.mark.parametrize("name", sorted(VerifierBlock.model_fields.keys() - {"kind"}))
def test_a_setting_is_refused_by_every_verifier_that_does_not_read_it(name: str) -> None:
    value, reading = OF_VERIFIERS[name]
    for kind in VERIFIERS:
        if kind in reading:
            assert getattr(verifier(kind, **{name: value}), name) != VerifierBlock.model_fields[name].default
        else:
            told = f"`{name}` is read by {', '.join(sorted(reading))}, and not by {kind}"
            with pytest.raises(ValidationError, match=told):
                verifier(kind, **{name: value})


@pytest.mark.parametrize("kind", VERIFIERS)
def test_a_verifier_written_out_with_every_default_still_loads(kind: str) -> None:
    assert VerifierBlock.model_validate(verifier(kind).model_dump(mode="json")) == verifier(kind)


def test_what_scores_a_stage_takes_one_value_a_setting() -> None:
    with pytest.raises(ValidationError, match="`aggregate` of what scores takes one value"):
        stage(score={"verifier": {"kind": "tiny_prm", "aggregate": ["min", "last"]}})


def test_a_search_over_steps_takes_no_stop_of_the_stage() -> None:
    beam = {"kind": "beam", "verifier": "tiny_prm"}
    for keys in ({"sampling": {"stop": ["END"]}}, {"modes": {"m": {"stop": ["END"]}}}):
        with pytest.raises(ValidationError, match="`stop` ends a reply"):
            stage(select=beam, **keys)
        stage(select="majority", **keys)


# --- modes


MODES = {
    "quick": {"max_tokens": 50, "decode_tokens": 20},
    "deep": {"extra": {"effort": "high"}, "top_p": 0.5},
}


def test_with_modes_the_choice_is_among_every_model_in_every_mode() -> None:
    assert stage(modes=MODES).variants == ("a@quick", "a@deep", "b@quick", "b@deep")
    assert stage().variants == ("a", "b")


def test_a_mode_replaces_what_it_gives_and_adds_its_extras() -> None:
    block = stage(
        modes=MODES,
        sampling={"temperature": 0.3, "max_tokens": 900, "extra": {"effort": "low", "seen": 1}},
        lengths={"decode_tokens": 300},
    )
    quick, deep = block.sampling_of("a@quick"), block.sampling_of("b@deep")
    assert (quick.max_tokens, quick.temperature, quick.extra) == (50, 0.3, {"effort": "low", "seen": 1})
    assert (deep.max_tokens, deep.top_p, deep.extra) == (900, 0.5, {"effort": "high", "seen": 1})
    assert sampling_parameters(deep).extra == (("effort", '"high"'), ("seen", "1"))
    assert (block.decode_tokens_of("a@quick"), block.decode_tokens_of("a@deep")) == (20, 300)
    assert block.sampling_of("a") == block.sampling


def loaded(project: Write, *changes: tuple[str, str]) -> Task:
    return Task.load(project(*changes))


QUICK = ("    n_samples: [1, 4]\n", "    n_samples: [1, 4]\n    modes: {quick: {max_tokens: 9}, deep: {}}\n")


def test_a_mode_has_a_card_of_its_own_that_asks_the_same_model(project: Write) -> None:
    task = loaded(project, QUICK)
    assert {"small", "small@quick", "small@deep"} == set(task.cards)
    assert {card.served_as for card in task.cards.values()} == {"small"}
    assert task.cards["small@quick"].name == "small@quick"


def test_a_recorded_card_draws_from_its_variant(project: Write) -> None:
    recorded = (
        "    source: openai\n    base_url: http://localhost:9/v1\n",
        "    source: recorded\n    table: t.csv\n",
    )
    table = "problem_id,stage,model,index,text,prefill_tokens,decode_tokens\n"
    path = project(QUICK, recorded)
    (path.parent / "t.csv").write_text(table)
    cards = Task.load(path).cards
    assert {name: card.served_as for name, card in cards.items()} == {
        "small": "small",
        "small@quick": "small@quick",
        "small@deep": "small@deep",
    }


def test_a_changed_mode_makes_another_task(project: Write) -> None:
    digests = {
        loaded(project, *changes).digest
        for changes in (
            (),
            (QUICK,),
            (QUICK, ("max_tokens: 9", "max_tokens: 8")),
            (QUICK, ("deep: {}", "deep: {top_p: 0.5}")),
        )
    }
    assert len(digests) == 4


async def test_a_plan_in_a_mode_answers_by_the_modes_sampling(project: Write) -> None:
    task = loaded(project, QUICK)
    choices = (StageChoice("draft", "small@quick", 1, "first"), StageChoice("check", "small", 1, "first"))
    plan = Plan.from_yaml(Plan(task, Allocation(choices)).to_yaml())
    sampler = ScriptedSampler(lambda request, index: "4")
    fields = {"question": "What is 2 + 2?", "answer": 4}
    answer = await plan.aanswer(fields, clients=ScriptedRequests(), sampler=sampler)
    assert answer.answer == "4"
    asked = {request.stage: request for request, _, _ in sampler.asked}
    assert (asked["draft"].model, asked["draft"].sampling.max_tokens) == ("small@quick", 9)
    assert (asked["check"].model, asked["check"].sampling.max_tokens) == ("small", 1024)


# --- stored tasks


def test_a_stored_task_keeps_every_way() -> None:
    ways = [way(kind, label=kind) for kind in KINDS]
    ways += [way("refine", label="criticised", critic={"prompt": {"user": "{{ text }}"}})]
    ways += [way("beam", label="knobs", width=[2, 3], separator=" ", max_steps=7)]
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"solve": stage(modes=MODES, select=[one.model_dump() for one in ways]).model_dump()},
            "score": {"verifier": "exact", "gold": "answer"},
        }
    )
    again = TaskFile.model_validate(json.loads(file.model_dump_json()))
    assert again == file
    assert [one.name for one in again.stages["solve"].ways] == [
        *KINDS,
        "criticised",
        "knobs[width 2]",
        "knobs[width 3]",
    ]


def test_a_task_read_back_from_a_plan_is_the_same_task(project: Write) -> None:
    ways = "    select: [adaptive_vote, {kind: cascade, to: [big, small@deep], below: [0.5, 0.8]}, {kind: refine, critic: {}}]\n"
    card = (
        "stages:\n",
        "  big: {source: openai, base_url: 'http://localhost:9/v1', parameters: 1e10}\nstages:\n",
    )
    task = loaded(project, QUICK, card, ("    n_samples: [1, 4]\n", f"    n_samples: [1, 4]\n{ways}"))
    assert set(task.cards) == {"small", "small@quick", "small@deep", "big"}
    again = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert again.digest == task.digest
    assert again.file.stages["draft"].ways == task.file.stages["draft"].ways
    assert again.cards == task.cards


# --- what only the whole task tells


def select(text: str) -> tuple[str, str]:
    return "    n_samples: [1, 4]\n", f"    n_samples: [1, 4]\n    select: {text}\n"


BEAM = select("{kind: beam, verifier: tiny_prm}")
BROKEN = {
    "an endpoint that cannot go on": (
        [BEAM],
        "sums.yaml:16: stages.draft.select: beam goes on from the beginning of a reply; the card `small` does not say "
        "that its endpoint can.\nAdd `continues_replies: true` to the card if the endpoint knows `continue_final_message`",
    ),
    "recorded draws": (
        [
            BEAM,
            (
                "    source: openai\n    base_url: http://localhost:9/v1\n",
                "    source: recorded\n    table: t.csv\n",
            ),
        ],
        "beam goes on from the beginning of a reply, which the recorded draws of `small` cannot.\n"
        "Leave beam out, or the model.",
    ),
    "a cascade to itself": (
        [select("[majority, {kind: cascade, to: small}]")],
        "sums.yaml:16: stages.draft.select.1.to: the cascade goes from `small` to itself.\nName a stronger model",
    ),
    "a cascade to nobody": (
        [select("[{kind: cascade, to: smal}]")],
        "stages.draft.select.0.to: there is no model card `smal`.\nDid you mean `small`?",
    ),
    "a mode that hides a card": (
        [
            QUICK,
            (
                "stages:\n",
                "  small@quick: {source: openai, base_url: 'http://localhost:9/v1', parameters: 1}\nstages:\n",
            ),
        ],
        "stages.draft.modes.quick: `small@quick` is a model card, so it cannot be told from a model in this mode.\n"
        "Call the mode something else than `quick`.",
    ),
    "a model that already is in a mode of this name": (
        [
            QUICK,
            ("models: [small]", "models: [other@deep]"),
            (
                "stages:\n",
                "  other@deep: {source: openai, base_url: 'http://localhost:9/v1', parameters: 1}\nstages:\n",
            ),
        ],
        "stages.draft.modes.deep: `other@deep` is a model card",
    ),
    "two ways of one name by knobs": (
        [
            select(
                "[{kind: adaptive_vote, confidence: [0.8, 0.9]}, {kind: adaptive_vote, label: 'adaptive_vote[confidence 0.9]'}]"
            )
        ],
        "stages.draft.select.1: two ways to select are called `adaptive_vote[confidence 0.9]`.",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_mistake_is_told_with_its_place_and_remedy(project: Write, case: str) -> None:
    changes, expected = BROKEN[case]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*changes))
    assert expected in str(caught.value)


def test_an_endpoint_that_says_that_it_can_go_on_is_believed(project: Write) -> None:
    able = ("    parameters: 1e9\n", "    parameters: 1e9\n    continues_replies: true\n")
    assert loaded(project, BEAM, able, QUICK).file.stages["draft"].ways[0].kind == "beam"


def test_cascades_to_different_models_are_told_apart(project: Write) -> None:
    ways = select("[{kind: cascade, to: small@deep}, {kind: cascade, to: small@quick, below: 0.7}]")
    labels = [way.name for way in loaded(project, ways, QUICK).file.stages["draft"].ways]
    assert labels == ["cascade(to small@deep)", "cascade(to small@quick)"]


def test_a_cascade_between_modes_of_one_model_is_one(project: Write) -> None:
    ways = select("{kind: cascade, to: small@deep}")
    assert loaded(project, ways, QUICK).file.stages["draft"].votes_tell
