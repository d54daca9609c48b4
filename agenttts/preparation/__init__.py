"""Data of tasks, made from published sets by recipes: `agenttts data prepare`.

A recipe's core is pure (`base` and a module per family); reading is in `sources`, writing in `prepared`.
"""

from agenttts.preparation.base import Wish
from agenttts.preparation.prepared import Prepared, prepare
from agenttts.preparation.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Prepared", "Recipe", "Wish", "prepare"]
