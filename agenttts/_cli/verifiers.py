"""`agenttts verifiers`: what can score samples, and how good one of it is on draws of which gold is known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agenttts._cli.console import PROVIDER_FAILED, clean, fold, print_json, say, table
from agenttts._cli.words import cost_text, plural, provenance
from agenttts.catalogue import verifier_card_files
from agenttts.errors import TaskFileError
from agenttts.task.reading import read_document
from agenttts.verifiers.named import KINDS, ORACLE, named_verifier

if TYPE_CHECKING:
    from agenttts.study.statistics import PairedDifference
    from agenttts.study.verifier_check import VerifierCheck
    from agenttts.study.verifier_draws import CheckedStage, LabelledDraws
    from agenttts.task.task import Task
    from agenttts.verifiers.named import NamedVerifier

__all__ = ["ABOUT", "CheckRequest", "check_text", "run_verifier_check", "run_verifiers"]

ABOUT = {
    "exact": "equal to gold; scores, does not select",
    "set_f1": "F1 of a list against gold; scores, does not select",
    "token_f1": "F1 of words against gold; scores, does not select",
    "numeric": "the number of gold; scores, does not select",
    "choice": "the letter of gold; scores, does not select",
    "math": "mathematically equal to gold; scores, does not select",
    "rouge_l": "ROUGE-L of a text against gold; scores, does not select",
    "node_f1": "F1 of the tools named against gold (TaskBench); scores, does not select",
    "parameter_f1": "F1 of the tools' arguments against gold (TaskBench); scores, does not select",
    "recorded": "what a recording says of the draw; scores, does not select",
    "regex": "whether the answer has a form (`pattern`)",
    "json_schema": "whether the answer fits a JSON schema",
    "function": "a Python function of the task; needs --trust",
    "code": "runs the tests of the problem (`tests`) in a sandbox",
    "executable": "runs the program in a sandbox, without tests; whether it fails",
    "completeness": "whether the program has no placeholders left",
    "judge": "a model marks samples, one by one, in pairs or as a list (`model`)",
    "orm": "a reward model that marks the answer (`model`)",
    "prm": "a reward model that marks each step (`model`)",
    "gen_prm": "a model that reasons about each step, running code (`model`)",
    "tiny_prm": "the reward model of the tiny family",
    "self_certainty": "how sure the model was of its own tokens",
    "agreement": "the share of samples with the same answer",
    "similarity": "how like a problem field the answer is, by their embeddings (`model`, `field`)",
}
"""By kind: what it does."""
LABEL = 12


# --- the list --------------------------------------------------------------------------------------------------------


def run_verifiers(*, as_json: bool) -> None:
    """List the kinds of verifiers and the cards of the user's project and of the catalogue."""
    cards = [(name, str(path), _description(path)) for name, path in verifier_card_files().items()]
    if as_json:
        kinds = [{"kind": kind, "does": ABOUT[kind]} for kind in KINDS]
        listed = [dict(zip(("name", "path", "does"), card, strict=True)) for card in cards]
        print_json({"kinds": kinds, "cards": listed})
        return
    say(table(["kind", "does"], [[kind, ABOUT[kind]] for kind in KINDS]))
    say()
    if cards:
        say(table(["card", "does"], [[clean(name), clean(does)] for name, _, does in cards]))
    else:
        say("No cards. Those of your project lie in verifiers/*.yaml.")
    say()
    say(f"Check one: agenttts verifiers check tiny_prm --task tiny ({ORACLE}: gold itself, for comparison)")


def _description(path: Path) -> str:
    """Return the first line of a card's description; why it cannot be read, where it cannot."""
    try:
        text = str(read_document(path).data.get("description", "")).strip()
    except TaskFileError as error:
        return f"cannot be read: {error.mistakes[0].message}"
    return text.splitlines()[0] if text else ""


# --- the check -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckRequest:
    """What the command line asked for."""

    verifier: str
    task: str
    stage: str | None
    model: str | None
    n_samples: int | None
    n_problems: int | None
    search_budget: str | None
    store: str | None
    endpoint: str | None
    source: str | None
    concurrency: int
    data: str | None
    trust: bool


@dataclass(frozen=True)
class _Checked:
    task: Task
    verifier: NamedVerifier
    where: CheckedStage
    found: LabelledDraws
    check: VerifierCheck | None
    """`None`: there is no labelled draw."""


def run_verifier_check(request: CheckRequest, *, as_json: bool) -> None:
    """Draw, score, and print what came of it."""
    from agenttts.study.opening import load_task
    from agenttts.study.verifier_check import check_draws
    from agenttts.study.verifier_draws import checked_stage

    task = load_task(
        request.task,
        trust=request.trust,
        endpoint=request.endpoint,
        source=request.source,
        data=request.data,
        needs="search",
    )
    verifier = named_verifier(task, request.verifier)
    where = checked_stage(task, stage=request.stage, model=request.model, n_samples=request.n_samples)
    found = asyncio.run(_drawn(request, task, verifier, where))
    checked = _Checked(task, verifier, where, found, check_draws(found.draws) if found.draws else None)
    if as_json:
        print_json(_check_json(checked))
    else:
        say(check_text(checked))
    if checked.check is None or not checked.check.n_scored:
        raise typer.Exit(PROVIDER_FAILED)


async def _drawn(
    request: CheckRequest, task: Task, verifier: NamedVerifier, where: CheckedStage
) -> LabelledDraws:
    from agenttts._cli.evaluate import ProblemCounter
    from agenttts.budgets.cost import Unit
    from agenttts.study.opening import as_budget, store_url
    from agenttts.study.verifier_draws import label

    unit = Unit.GFLOPS if task.file.budget.unit is Unit.PAPER else task.file.budget.unit
    return await label(
        task,
        where,
        verifier,
        task.search[: request.n_problems],
        store_url=store_url(request.store),
        cap=None if request.search_budget is None else as_budget(request.search_budget, unit),
        concurrency=request.concurrency,
        on_rollout=ProblemCounter(),
    )


# --- words -----------------------------------------------------------------------------------------------------------


def check_text(checked: _Checked) -> str:
    """Return a check for people, in 80 columns."""
    blocks = ["\n".join(_head(checked))]
    check = checked.check
    if check is None:
        blocks.append("No draw could be labelled: there is nothing to check.")
    elif not check.n_scored:
        blocks.append(fold(f"The verifier gave no sample a score. {_why(checked)}".strip()))
    else:
        blocks += [_ranking(check), _calibration(check), _selection(checked, check)]
    blocks.append(fold(provenance(checked.found.task, checked.found.models)))
    return "\n\n".join(blocks)


def _line(label: str, text: str) -> str:
    return fold(text, first=label.ljust(LABEL))


def _head(checked: _Checked) -> list[str]:
    where, found, check = checked.where, checked.found, checked.check
    lines = [
        _line(
            "verifier",
            f"{clean(checked.verifier.name)} at stage {clean(where.stage)} of task {clean(checked.task.file.name)}",
        ),
        _line("draws", _draws_words(checked)),
    ]
    if check is not None:
        lines.append(
            _line(
                "right",
                f"{check.right} of a single sample ({check.right.confidence:.0%}, {check.right.method})",
            )
        )
        lines += [_line("", text) for text in _missing(checked, check)]
    lines += [_line("failed", text) for text in _failed(found)]
    lines.append(_line("spent", cost_text(found.spent)))
    lines.append(_line("", f"{found.evaluation.n_paid:,} draws paid, {found.evaluation.n_reused:,} reused"))
    return lines


def _draws_words(checked: _Checked) -> str:
    choice = checked.where.choice
    before = [c for c in checked.where.allocation.choices if c.stage != choice.stage]
    words = (
        f"{choice.n_samples} of {clean(choice.model)} for each of "
        f"{plural(checked.found.evaluation.n_problems, 'search problem')}"
    )
    if before:
        words += f", built on {'; '.join(clean(c) for c in before)}"
    return words


def _missing(checked: _Checked, check: VerifierCheck) -> list[str]:
    lines = []
    if check.n_unparsed:
        lines.append(
            f"{plural(check.n_unparsed, 'sample')} could not be parsed: wrong, and not sent to the verifier"
        )
    n_unscored = check.n_problems * check.n_samples - check.n_scored - check.n_unparsed
    if n_unscored > 0 and check.n_scored:
        lines.append(
            f"{plural(n_unscored, 'sample')} without a score, left out of ranking and calibration. {_why(checked)}"
        )
    if checked.found.unlabelled:
        lines.append(
            f"{plural(len(checked.found.unlabelled), 'problem')} left out: gold could not score every sample"
        )
    return lines


def _why(checked: _Checked) -> str:
    because = checked.found.unscored_because
    return f"E.g. {clean(because, limit=300)}" if because else ""


def _failed(found: LabelledDraws) -> list[str]:
    failures = found.evaluation.failures
    if not failures:
        return []
    first = failures[0]
    return [
        f"{plural(len(failures), 'problem')}, e.g. {clean(first.problem_id)} at stage {clean(first.failure.stage)}: "
        f"{clean(first.failure.cause)}: {clean(first.failure.message)}"
    ]


def _ranking(check: VerifierCheck) -> str:
    if check.auroc is None:
        return _line("ranking", "there are no right and wrong samples to tell apart")
    lines = [_line("ranking", f"AUROC {check.auroc} over all samples (0.5: chance, 1: perfect)")]
    within = check.auroc_within
    if within is not None:
        what = f"AUROC {within} among samples of one problem, which is what selecting hangs on ({plural(within.n, 'problem')} with right and wrong ones)"
        lines.append(_line("", what))
    lines.append(_line("", f"95%, {check.auroc.method}"))
    return "\n".join(lines)


def _calibration(check: VerifierCheck) -> str:
    assert check.ece is not None  # noqa: S101 - something was scored
    what = f"ECE {check.ece:.3f}; Brier {check.brier} (a constant score: {check.brier_constant:.3f})"
    rows = [
        [f"{b.low:.1f}-{b.high:.1f}", f"{b.n:,}", f"{b.n_problems:,}", f"{b.score:.3f}", str(b.right)]
        for b in check.bins
    ]
    head = ["score", "samples", "problems", "mean score", "share right"]
    return f"{_line('calibration', what)}\n{table(head, rows, right=[1, 2, 3])}"


def _selection(checked: _Checked, check: VerifierCheck) -> str:
    rows = [
        [
            str(s.n),
            f"{s.verifier.mean:.3f}",
            f"{s.majority.mean:.3f}",
            f"{s.oracle.mean:.3f}",
            "-" if s.n == 1 else _gap(s.over_majority),  # of one sample there is nothing to select
            "-" if s.n == 1 else _gap(s.below_oracle),
        ]
        for s in check.selected
    ]
    head = ["n", "verifier", "majority", "oracle", "over majority", "left to the oracle"]
    lines = [_line("selection", "best-of-n by the verifier, by vote, and by an oracle, on the same draws")]
    lines.append(table(head, rows, right=[0, 1, 2, 3]))
    lines.append(fold(_verdict(check)))
    if checked.verifier.compares_samples:
        lines.append(
            fold(f"Scores compare all {check.n_samples} samples of a problem, so rows of fewer flatter them.")
        )
    return "\n".join(lines)


def _gap(difference: PairedDifference) -> str:
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _verdict(check: VerifierCheck) -> str:
    """Return in words what the verifier brings with all samples."""
    last = check.selected[-1]
    against = {
        "better": f"gains {last.over_majority.mean:.3f} over the vote",
        "worse": f"loses {-last.over_majority.mean:.3f} to the vote",
        "not distinguishable": "is not distinguishable from the vote",
    }[last.over_majority.verdict]
    room = last.below_oracle
    left = (
        f"a perfect verifier would find {room.mean:.3f} more"
        if room.verdict == "better"
        else "a perfect verifier would not be distinguishable from it"
    )
    return f"With {last.n} samples the verifier {against} (p = {last.over_majority.p:.3g}); {left}."


def _check_json(checked: _Checked) -> dict[str, Any]:
    from agenttts.study.archive import cost_to_json, failure_to_json

    found = checked.found
    return {
        "task": checked.task.file.name,
        "verifier": checked.verifier.name,
        "stage": checked.where.stage,
        "allocation": checked.where.allocation.to_json(),
        "check": None if checked.check is None else checked.check.to_json(),
        "compares_samples": checked.verifier.compares_samples,
        "unscored_because": found.unscored_because,
        "unlabelled": list(found.unlabelled),
        "failures": [failure_to_json(entry) for entry in found.evaluation.failures],
        "n_paid": found.evaluation.n_paid,
        "n_reused": found.evaluation.n_reused,
        "spent": cost_to_json(found.spent),
        "figures_from": provenance(checked.found.task, found.models),
    }
