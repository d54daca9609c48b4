"""Requests with the tools that carry them out: the daily-life APIs of TaskBench.

Source: Shen et al. 2023, arXiv:2311.18760; `data.parquet` of microsoft/Taskbench (columns `instruction`, `tool_steps`,
`tool_nodes`, `tool_links`, lists as JSON texts) or `data.json` of microsoft/JARVIS (`user_request`, `task_steps`,
`task_nodes`, `task_links`), with `tool_desc.json` or `graph_desc.json` beside it.

There is one published table; it is divided between search and test by hash. Every problem carries all tools, since the
order to choose among them is the task. Left out are rows without steps or nodes, and those whose nodes name a tool that
is not described: no answer to them could be right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from agenttts.errors import DataError
from agenttts.preparation.base import (
    Made,
    Report,
    Row,
    Tables,
    UnusableError,
    Wish,
    column,
    divide,
    loaded,
    texts,
)

__all__ = ["prepare_requests"]


def prepare_requests(tables: Tables, wish: Wish, report: Report) -> Made:
    """Return requests with `tools`, `task_steps`, `task_nodes` and `task_links`.

    Raises:
        DataError: The table `tools` describes none.
    """
    tools = _tools(tables.beside.get("tools", ()))
    names = {tool["id"] for tool in tools}
    chosen = divide(
        tables,
        wish,
        lambda row: _problem(row, tools, names),
        identity=lambda row: str(column(row, "id")),
        text=lambda problem: str(problem["user_request"]),
    )
    return Made(
        chosen.search,
        chosen.test,
        chosen.left_out,
        chosen.n_rows,
        [f"each problem carries {len(tools)} tools"],
        chosen.left_out_ids,
    )


def _tools(rows: Iterable[Row]) -> list[dict[str, Any]]:
    described = [tool for row in rows for tool in row.get("nodes", [row])]
    if not described:
        raise DataError(
            "the tools are not described: `tool_desc.json` or `graph_desc.json` should lie beside the data"
        )
    return [_tool(tool) for tool in described]


def _tool(tool: Row) -> dict[str, Any]:
    return {
        "id": str(column(tool, "id")),
        "desc": str(column(tool, "desc")),
        "parameters": [
            {name: str(parameter.get(name, "")) for name in ("name", "type", "desc")}
            for parameter in column(tool, "parameters")
        ],
    }


def _problem(row: Row, tools: Sequence[Row], names: Collection[str]) -> Row:
    request = column(row, "instruction", "user_request")
    steps = texts(_list(row, "tool_steps", "task_steps"), "steps")
    nodes = [_node(node) for node in _list(row, "tool_nodes", "task_nodes")]
    if not isinstance(request, str) or not request.strip():
        raise UnusableError("there is no request")
    if not steps or not nodes:
        raise UnusableError("there are no gold steps or no gold nodes")
    if any(node["task"] not in names for node in nodes):
        raise UnusableError("a gold node names a tool that is not described")
    return {
        "id": str(column(row, "id")),
        "user_request": request.strip(),
        "type": str(row.get("type", "")),
        "tools": tools,
        "task_steps": steps,
        "task_nodes": nodes,
        "task_links": _list(row, "tool_links", "task_links"),
    }


def _list(row: Row, *names: str) -> list[Any]:
    value = loaded(column(row, *names), names[0])
    if not isinstance(value, list):
        raise UnusableError(f"`{names[0]}` holds no list")
    return value


def _node(node: Any) -> dict[str, Any]:
    arguments = node.get("arguments") if isinstance(node, Mapping) else None
    if not isinstance(arguments, list) or not all(
        isinstance(one, Mapping) and {"name", "value"} <= set(one) for one in arguments
    ):
        raise UnusableError("a gold node has no list of arguments with name and value")
    return {
        "task": str(node.get("task", "")),
        "arguments": [{"name": str(one["name"]), "value": one["value"]} for one in arguments],
    }
