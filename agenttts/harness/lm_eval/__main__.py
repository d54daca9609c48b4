"""The command line of lm-evaluation-harness with the model `agenttts`, which it takes unless another one is named."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agenttts.errors import AgentTTSError

__all__ = ["main"]

OTHERS = frozenset({"ls", "validate", "-h", "--help"})
"""What the harness does without a model."""


def with_model(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with the model added where none is named and one is needed."""
    named = any(one in {"--model", "-M"} or one.startswith("--model=") for one in arguments)
    if named or not arguments or arguments[0] in OTHERS:
        return list(arguments)
    return [*arguments, "--model", "agenttts"]


def main() -> int:
    """Run the harness; return the exit code."""
    from lm_eval.__main__ import cli_evaluate

    # `python -m` has imported the package around this file, which registers the model.
    sys.argv[1:] = with_model(sys.argv[1:])
    try:
        cli_evaluate()
    except AgentTTSError as error:
        notes = getattr(error, "__notes__", [])
        sys.stderr.write("\n".join([f"error: {error}", *notes, ""]))
        return error.exit_code
    except NotImplementedError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
