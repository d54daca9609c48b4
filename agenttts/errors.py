"""Every error that agenttts raises on purpose.

Each class carries fields for programs and a message for people: what is wrong, where, how to mend it.
Errors of libraries are translated once, at the edge where they appear, with the cause kept.

    AgentTTSError
    ├── InputError                   what the user wrote cannot be used; exit code 2
    │   ├── TaskFileError            a YAML file, with every mistake in it
    │   ├── DataError                a data file or data set
    │   ├── CardError                a model card lacks what a cost needs
    │   ├── PlanError                a plan.yaml
    │   ├── TrustError               the task names Python code and `--trust` was not given
    │   └── RunError                 a run folder: not writable, newer format, in use, another task
    ├── BudgetError                  exit code 3
    │   ├── InfeasibleBudgetError    no allocation fits the budget
    │   └── SearchBudgetExhausted    the search may spend no more; the run can be resumed
    ├── ProviderError                a model could not be reached or refused; exit code 4
    │   ├── AuthenticationError      the key is wrong or missing; never retried, stops the run
    │   ├── RequestRefusedError      the request itself is refused (HTTP 400, 404, 422); never retried
    │   │   └── NotServedError       no such model, or no chat completions at the address; stops the run
    │   ├── RateLimitedError         HTTP 429 after all retries
    │   ├── ProviderUnavailableError 5xx, no connection or no reply in time, after all retries
    │   └── EndpointDownError        an endpoint failed again and again; stops the run
    ├── RecordedMissError            a draw that was not recorded was asked for
    ├── SandboxError                 programs cannot be run apart from the host on this machine
    ├── StoreError                   the sample store cannot be read or written; exit code 2
    └── NoSamplesError               a selector was given nothing to select from
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AgentTTSError",
    "AuthenticationError",
    "BudgetError",
    "CardError",
    "DataError",
    "EndpointDownError",
    "InfeasibleBudgetError",
    "InputError",
    "Mistake",
    "NoSamplesError",
    "NotServedError",
    "PlanError",
    "ProviderError",
    "ProviderUnavailableError",
    "RateLimitedError",
    "RecordedMissError",
    "RequestRefusedError",
    "RunError",
    "SandboxError",
    "SearchBudgetExhausted",
    "StoreError",
    "TaskFileError",
    "TrustError",
]


class AgentTTSError(Exception):
    """Root of all errors of agenttts."""

    exit_code = 1


class InputError(AgentTTSError):
    """What the user wrote cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in one file."""

    file: str
    line: int | None
    """Counted from 1; `None` where no single line is to blame."""
    key: str
    """Dotted path of the key, e.g. `stages.solve.n_sample`; empty for the file as a whole."""
    message: str
    """What is wrong and what was expected."""
    hint: str = ""
    """How to mend it, e.g. the nearest right name."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        where = f"{place}: {self.key}" if self.key else place
        first = f"{where}: {self.message}"
        return f"{first}\n{self.hint}" if self.hint else first


class TaskFileError(InputError):
    """A task, card or plan file holds mistakes; all of them are in `mistakes`."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class DataError(InputError):
    """A data file or data set cannot be read as problems."""


class CardError(InputError):
    """A model card lacks what was asked of it; the message names the card and the key to add."""


class PlanError(InputError):
    """A plan cannot be read or does not fit its task."""


class TrustError(InputError):
    """The task names Python code of its own, and the user has not allowed it to run."""


class RunError(InputError):
    """A run folder cannot be used: not writable, newer format, in use by another process, or of another task."""


class BudgetError(AgentTTSError):
    """A limit was reached."""

    exit_code = 3


class InfeasibleBudgetError(BudgetError):
    """No allocation fits the budget."""


class SearchBudgetExhausted(BudgetError):  # noqa: N818 - an ending, not a fault
    """What the search may spend is spent. Everything paid for is kept and the run can be resumed."""


class ProviderError(AgentTTSError):
    """A model could not be reached, or refused.

    Attributes:
        endpoint: Identity of the endpoint (never with a key in it).
        model: Card name of the model.
        n_attempts: Calls made before giving up.
    """

    exit_code = 4
    stops_run = False

    def __init__(self, message: str, *, endpoint: str = "", model: str = "", n_attempts: int = 1) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.model = model
        self.n_attempts = n_attempts


class AuthenticationError(ProviderError):
    """The key is wrong or missing."""

    stops_run = True


class RequestRefusedError(ProviderError):
    """The endpoint refuses the request as such; sending it again would not help."""


class NotServedError(RequestRefusedError):
    """The endpoint has no such model, or there is no endpoint at the address; every request would be refused."""

    stops_run = True


class RateLimitedError(ProviderError):
    """Still rate-limited after all retries."""


class ProviderUnavailableError(ProviderError):
    """No usable reply after all retries."""


class EndpointDownError(ProviderError):
    """An endpoint failed again and again; going on would only fail every problem."""

    stops_run = True


class RecordedMissError(AgentTTSError):
    """A draw was asked for that the recording does not hold; it is never replaced by another one."""


class SandboxError(AgentTTSError):
    """Programs cannot be run apart from the host on this machine, or not in the way that was asked for."""

    exit_code = 2


class StoreError(AgentTTSError):
    """The sample store cannot be read or written."""

    exit_code = 2


class NoSamplesError(AgentTTSError):
    """A selector was given nothing to select from."""
