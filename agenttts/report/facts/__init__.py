"""The facts of a run: from its folder to typed values that a page is made of.

`facts_of` reads a folder; what it computes lives in pure modules beside it, the values in `values`.
"""

from agenttts.report.facts.reading import facts_of
from agenttts.report.facts.values import RunFacts, to_json

__all__ = ["RunFacts", "facts_of", "to_json"]
