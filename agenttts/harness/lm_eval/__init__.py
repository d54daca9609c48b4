"""lm-evaluation-harness: plans as a model, for tasks that generate.

Importing registers the model `agenttts`. The harness looks for no models of other packages, so its command line needs to
be started through this one: `python -m agenttts.harness.lm_eval --tasks gsm8k --model_args plan=runs/x/plan.yaml`.
"""

from agenttts.harness.lm_eval.model import AgentttsLM

__all__ = ["AgentttsLM"]
