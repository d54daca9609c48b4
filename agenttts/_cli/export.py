"""`agenttts export`: a run's trials, plan, draws and search as files for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, print_json, say, say_aside
from agenttts._cli.words import plural
from agenttts.errors import InputError

if TYPE_CHECKING:
    from agenttts.export import Run

__all__ = ["ExportRequest", "run_export"]


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What the user typed; `None` where nothing was."""

    run: str
    trials: Path | None
    plan: Path | None
    draws: Path | None
    optuna: str | None
    study_name: str | None
    store: str | None
    data: str | None
    trust: bool
    as_json: bool


def run_export(request: ExportRequest) -> None:
    """Write what was asked for and say what was written."""
    from agenttts.export import Run

    _check(request)
    run = Run.load(request.run, trust=request.trust, store=request.store, data=request.data)
    written: dict[str, Any] = {}
    for name, path, save in (
        ("trials", request.trials, _trials),
        ("plan", request.plan, _plan),
        ("draws", request.draws, _draws),
    ):
        if path is not None:
            written[name] = {"path": str(path), **save(run, path)}
            _tell(name, written[name], request)
    if request.optuna is not None:
        study = run.save_optuna(request.optuna, study_name=request.study_name)
        written["optuna"] = {"study_name": study.study_name, "n": len(study.trials)}
        _tell("optuna", written["optuna"], request)
        if not request.as_json:
            say_aside(fold("To look at it: pip install 'agenttts[dashboard]', then optuna-dashboard STORAGE"))
    if request.as_json:
        print_json({"run": str(run.folder), **written})


def _check(request: ExportRequest) -> None:
    if request.study_name is not None and request.optuna is None:
        raise InputError("--study-name is the name of a study of Optuna: give --optuna STORAGE with it")
    if all(wanted is None for wanted in (request.trials, request.plan, request.draws, request.optuna)):
        raise InputError(
            "nothing to export: give --trials FILE, --plan FILE, --draws FILE, --optuna STORAGE, or several of them"
        )


def _trials(run: Run, path: Path) -> dict[str, Any]:
    run.save_trials(path)
    return {"n": len(run.result().trials)}


def _plan(run: Run, path: Path) -> dict[str, Any]:
    run.save_plan(path)
    return {}


def _draws(run: Run, path: Path) -> dict[str, Any]:
    count = run.save_draws(path)
    return {"n": count.n, "n_verifier_calls": count.n_verifier_calls, "n_missing": count.n_missing}


def _counted(name: str, what: Mapping[str, Any]) -> str:
    if name == "plan":
        return "the plan"
    if name == "trials":
        return plural(what["n"], "trial")
    asked = what["n_verifier_calls"]
    completions = plural(what["n"] - asked, "completion")
    return f"{completions} and {plural(asked, 'call')} of verifiers" if asked else completions


def _tell(name: str, what: dict[str, Any], request: ExportRequest) -> None:
    if request.as_json:
        return
    if name == "optuna":
        say(f"wrote     {plural(what['n'], 'trial')} as the study {clean(what['study_name'])}")
        return
    say(f"wrote     {_counted(name, what)}: {what['path']}")
    if what.get("n_missing"):
        say_aside(
            fold(
                f"{plural(what['n_missing'], 'draw')} that the run asked for {'is' if what['n_missing'] == 1 else 'are'} "
                "not in the store: they failed, or the store has lost them."
            )
        )
