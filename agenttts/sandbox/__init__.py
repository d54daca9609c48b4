"""Running Python programs that nobody has read: in a separate process, with limits, told apart from the host."""

from agenttts.sandbox.base import Execution, Isolation, Limits
from agenttts.sandbox.run import run_python

__all__ = ["Execution", "Isolation", "Limits", "run_python"]
