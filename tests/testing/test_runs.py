"""Simulated runs are runs: the package reads them as its own."""

from __future__ import annotations

from agenttts.study.study import Study
from agenttts.testing.runs import write_simulated_run


def test_a_simulated_run_is_a_finished_run_with_every_kind_of_trial(tmp_path):
    written = write_simulated_run(tmp_path, n_trials=120, n_problems=20, n_unseen=10)
    result = Study.open(written.folder).result()
    assert result.status == "finished"
    assert len(result.trials) == 120
    assert {trial.status for trial in result.trials} == {"ok", "stopped", "over_budget", "invalid"}
    assert result.confirmation is not None
    assert result.confirmation.n == 10
    assert all(trial.allocation.choices[0].model.startswith("simulated/") for trial in result.trials)


def test_the_same_seed_writes_the_same_trials_and_another_one_others(tmp_path):
    def trials(name: str, seed: int):
        written = write_simulated_run(tmp_path / name, n_trials=24, n_problems=8, n_unseen=4, seed=seed)
        return Study.open(written.folder).result().trials

    assert trials("a", 0) == trials("b", 0)
    assert trials("c", 1) != trials("a2", 0)
