"""What a pilot draws, and what its log keeps."""

from __future__ import annotations

import json

from agenttts.budgets.lengths import Lengths
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import StageLengths, Trial
from agenttts.study.evaluate import Evaluation
from agenttts.study.pilot import learn_trial, pilot_allocations, pilot_content
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

STAGE = {"prompt": {"user": "x"}, "models": ["a", "b"], "n_samples": [1, 4, 16]}


def conditional_task(tmp_path) -> Task:
    escalate = {
        **STAGE,
        "models": ["a"],
        "needs": ["attempt"],
        "when": {"stage": "attempt", "below": [0, 0.5]},
    }
    fields = {"name": "t", "data": {"path": "rows.jsonl"}, "score": {"verifier": "numeric", "gold": "answer"}}
    file = TaskFile.model_validate({**fields, "stages": {"attempt": STAGE, "escalate": escalate}})
    return Task(file=file, folder=tmp_path, cards={}, search=())


def test_watched_stages_draw_more_and_watching_ones_always_run(tmp_path):
    pilots = pilot_allocations(conditional_task(tmp_path))
    assert [str(pilot) for pilot in pilots] == [
        "attempt a x8 first; escalate a x1 below 1.01",
        "attempt b x8 first; escalate a x1 below 1.01",
    ]


def test_no_more_is_drawn_than_was_recorded(tmp_path):
    pilots = pilot_allocations(conditional_task(tmp_path), lambda stage, model: 3 if model == "a" else None)
    assert [pilot["attempt"].n_samples for pilot in pilots] == [3, 8]


def test_many_samples_of_a_problem_weigh_as_one_length():
    seen = StageLengths("a", {10: 2}, dict.fromkeys(range(1, 9), 1))
    evaluation = Evaluation(
        Allocation((StageChoice("attempt", "a", 4, "first"),)), {}, lengths={"attempt": seen}
    )
    ((stage, kept),) = pilot_content([evaluation])["lengths"]
    assert (stage, kept["prefill"], kept["decode"]) == ("attempt", [(10, 2)], [(3, 1), (7, 1)])


def test_votes_are_kept_where_a_stage_is_watched():
    allocation = Allocation((StageChoice("attempt", "a", 4, "first"),))
    content = pilot_content([Evaluation(allocation, {}, votes={"attempt": {"p": (0, -1)}})])
    assert content["votes"] == [["attempt", "a", {"p": [0, -1]}]]
    assert "votes" not in pilot_content([Evaluation(allocation, {})])


def test_votes_and_measures_survive_the_log_and_older_logs_lack_them():
    allocation = Allocation((StageChoice("attempt", "a", 2, "majority"),))
    votes, measured = {"attempt": {"p": (0, -1)}}, {"escalate": {"p": 0.5}}
    trial = Trial(0, allocation, "ok", {"p": 1.0}, 1.0, votes=votes, measured=measured)
    data = json.loads(json.dumps(trial.to_json()))
    assert Trial.from_json(data) == trial
    old = {key: value for key, value in data.items() if key not in {"votes", "measured"}}
    assert Trial.from_json(old).votes == {}


def test_trials_teach_how_often_a_stage_runs(tmp_path):
    task = conditional_task(tmp_path)
    lengths = Lengths(task.file)
    off = StageChoice("escalate", "a", 1, "first", 0.0)
    allocation = Allocation((StageChoice("attempt", "a", 2, "majority"), off))
    votes = {"attempt": {"sure": (0, 0), "unsure": (-1, -1)}}
    learn_trial(lengths, Trial(0, allocation, "ok", {"sure": 1.0, "unsure": 0.0}, 1.0, votes=votes))
    assert lengths.run_shares.share("escalate", 0.5, allocation["attempt"]) == (0 + 1 + 1) / 3
