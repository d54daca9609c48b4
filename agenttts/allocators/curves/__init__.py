"""The default allocator: fit how each stage's score rises and carries on, propose what is worth its price.

`samples` reads trials, `laws` and `selectors` fit what single samples and selectors do, `composition` puts stages
together, `residual` holds what that leaves unexplained, `model` is the fit as others use it, `acquisition` and
`candidates` choose what to try, `opening` what to try first.
"""

from agenttts.allocators.curves.allocator import Curves
from agenttts.allocators.curves.model import CurvesModel, StagePoint, fitted

__all__ = ["Curves", "CurvesModel", "StagePoint", "fitted"]
