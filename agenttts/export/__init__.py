"""A run for other tools: its trials as tables, its plan as JSON, its draws as JSON lines, its search as a study of Optuna."""

from agenttts.export.run import Run

__all__ = ["Run"]
