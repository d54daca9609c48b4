"""What inspect_ai finds through the entry point: importing registers the names."""

from agenttts.harness.inspect import agenttts, plan, verifier

__all__ = ["agenttts", "plan", "verifier"]
