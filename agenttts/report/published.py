"""What the paper prints of its methods, read from `published.yaml` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Published", "PublishedFigure", "published"]


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """What is printed of one method."""

    score: float
    hours: float | None
    """Until the optimum was found; `None`: not available, or never found."""


@dataclass(frozen=True)
class Published:
    """What is printed of one task."""

    measure: str
    figures: Mapping[str, PublishedFigure]
    """By allocator."""
    source: str
    note: str
    """How sure the figures are, and in what they differ from ours besides."""
    n_test: int


def published(task: str) -> Published | None:
    """Return what the paper prints of a task of this name; `None` where it has none of it."""
    content = _content()
    found = content["tasks"].get(task)
    if found is None:
        return None
    figures = {name: PublishedFigure(**figure) for name, figure in found["methods"].items()}
    note = f"{content['note'].strip()} {found['note'].strip()}"
    return Published(found["measure"], figures, content["source"], note, content["n_test"])


@cache
def _content() -> Mapping[str, Any]:
    import yaml

    content: Mapping[str, Any] = yaml.safe_load(
        Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    )
    return content
