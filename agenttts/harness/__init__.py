"""Plug-ins for evaluation harnesses: inspect_ai (`inspect`) and lm-evaluation-harness (`lm_eval`).

Each needs its extra: `pip install 'agenttts[inspect]'`, `pip install 'agenttts[lm-eval]'`.
"""
