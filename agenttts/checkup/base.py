"""What a check finds, and what a command makes of all findings. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["Finding", "Verdict", "exit_code", "merged"]


class Verdict(StrEnum):
    """How a finding stands."""

    FINE = "fine"
    NOTE = "note"
    """Works, and there is something to know."""
    MEND = "mend"
    """Does not work until the user does something."""
    DOWN = "down"
    """An endpoint does not answer."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    about: str
    """Group: machine, cards, keys, endpoints, store."""
    name: str
    """What was looked at."""
    verdict: Verdict
    message: str
    """Never with a key in it."""
    help: str = ""
    """One line: what to do."""


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return what must be mended or is down once for all things that it is told of alike, under all their names.

    One key that is refused is one mistake, however many models are asked with it. They keep the order of the first.
    """
    names: dict[Finding, dict[str, None]] = {}
    for one in findings:
        alone = one.verdict in {Verdict.FINE, Verdict.NOTE}
        names.setdefault(one if alone else replace(one, name=""), {})[one.name] = None
    return [replace(one, name=", ".join(named)) for one, named in names.items()]


MEND, DOWN = 2, 4


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 where something must be mended, else 4 where an endpoint is down, else 0.

    What must be mended comes first: waiting for the endpoint would not help.
    """
    verdicts = {finding.verdict for finding in findings}
    if Verdict.MEND in verdicts:
        return MEND
    return DOWN if Verdict.DOWN in verdicts else 0
