"""How well the tools of a plan, and their arguments, agree with the plan that is known to be right.

Source: Shen et al. 2023, arXiv:2311.18760 (TaskBench), and its official script (microsoft/JARVIS, taskbench/evaluate.py).
There a plan is the set of its tools' names (n-F1), of its pairs of tool and parameter (t-F1), or of its triples of tool,
parameter and value (v-F1); repeats count once, order and links between tools do not count, names are compared to the
letter, values as text.

Per problem our F1 is the official one. Where we depart:

- The script adds up the right, wrong and missing items of all problems and takes one F1 of the sums (micro average); we
  score each problem and report the mean, as AgentTTS does, because a search needs a score per problem. Long plans weigh
  more in the script's figure.
- The script drops predicted tools that no tool of the problem set is called, and all problems whose prediction it cannot
  read; here the first are wrong and the second score 0.
- Where neither plan has an item, we score 1; the script's sums do not notice such a problem.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agenttts.verifiers.equality import written
from agenttts.verifiers.rules import GoldError

__all__ = ["node_f1", "parameter_f1"]

NODES = ("task_nodes", "nodes", "tool_nodes")
"""Keys under which a plan holds its tools."""
MOST_DEPTH = 3
"""Texts within plans within texts are read this far."""


def node_f1(gold: Any, answer: Any) -> float:
    """Return the F1 of the tools that an answer names (TaskBench's n-F1, per problem).

    Args:
        gold: The plan: a list of names, or of `{task: name}`, or a mapping that holds such a list, or JSON text of it.
        answer: The same; parts that are none of it count as missing.

    Raises:
        GoldError: The gold value is no plan.
    """
    return _f1({name for name, _ in _gold_nodes(gold)}, {name for name, _ in _nodes(answer)})


def parameter_f1(gold: Any, answer: Any, values: bool = True) -> float:
    """Return the F1 of the arguments that an answer gives to tools (TaskBench's v-F1; without values its t-F1).

    Args:
        gold: The plan: a list of `{task: name, arguments: [{name, value}, ...]}`; arguments may also be a mapping from
            name to value, the plan a mapping that holds the list, or JSON text.
        answer: The same; parts that are none of it count as missing.
        values: Whether the value must be right, too.

    Raises:
        GoldError: The gold value is no plan.
    """
    return _f1(set(_arguments(_gold_nodes(gold), values)), set(_arguments(_nodes(answer), values)))


def _f1(gold: set[Any], named: set[Any]) -> float:
    if not gold and not named:
        return 1.0
    return 2 * len(gold & named) / (len(gold) + len(named))


def _gold_nodes(gold: Any) -> list[tuple[str, Any]]:
    nodes = _nodes(gold)
    if not nodes and _plan(gold) != []:
        raise GoldError(f"expected a list of tools, got {str(gold)[:40]!r}")
    return nodes


def _nodes(value: Any) -> list[tuple[str, Any]]:
    """Return names and arguments of the tools of a plan."""
    plan = _plan(value)
    items = plan if isinstance(plan, list | tuple) else [plan]
    return [node for item in items if (node := _node(item)) is not None]


def _plan(value: Any, depth: int = 0) -> Any:
    """Return the list of tools within what may be JSON text, or a mapping that holds it."""
    if depth < MOST_DEPTH and isinstance(value, str):
        try:
            return _plan(json.loads(value), depth + 1)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping):
        held = next((value[key] for key in NODES if key in value), None)
        return value if held is None or depth >= MOST_DEPTH else _plan(held, depth + 1)
    return value


def _node(item: Any) -> tuple[str, Any] | None:
    if isinstance(item, str):
        return (item, ()) if item.strip() else None
    name = item.get("task") if isinstance(item, Mapping) else None
    return (name, item.get("arguments")) if isinstance(name, str) and name.strip() else None


def _arguments(nodes: list[tuple[str, Any]], values: bool) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of tools: tool, name and, where they count, value."""
    for task, arguments in nodes:
        for name, value in _named_values(arguments):
            yield (task, name, written(value)) if values else (task, name)


def _named_values(arguments: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(arguments, Mapping):
        yield from ((written(name), value) for name, value in arguments.items())
    for argument in arguments if isinstance(arguments, list | tuple) else ():
        if isinstance(argument, Mapping) and isinstance(argument.get("name"), str) and "value" in argument:
            yield argument["name"], argument["value"]
