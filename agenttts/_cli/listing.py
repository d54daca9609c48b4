"""`agenttts tasks` and `agenttts models`: what can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, print_json, say, table

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.cost_model import CostModel

__all__ = ["run_models", "run_tasks"]

NAME_WIDTH = 32


def run_tasks(*, as_json: bool) -> None:
    """List the tasks of the user's project and of the catalogue."""
    from agenttts.catalogue import list_tasks

    tasks = list_tasks()
    if as_json:
        entries = [{"name": t.name, "path": str(t.path), "description": t.description} for t in tasks]
        print_json({"tasks": entries})
        return
    for task in tasks:
        say(clean(task.name))
        if task.description:
            say(fold(clean(task.description), first="    "))
        say(f"    {clean(task.path)}")
    if not tasks:
        say("No tasks here. Give the path of a task file, or put tasks into tasks/<name>/task.yaml.")


def run_models(*, as_json: bool) -> None:
    """List the model cards of the user's project and of the catalogue, with their figures."""
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.loading import load_cards

    book = load_cards()
    costs = CostModel(book)
    if as_json:
        print_json({"models": [_as_json(book[name], costs) for name in sorted(book)]})
        return
    head = ["model", "source", "parameters", "layers", "width", "USD/M in", "USD/M out"]
    say(table(head, [_row(book[name], costs) for name in sorted(book)], right=range(2, 7)))
    say()
    say("-: not on the card. Cards lie in budgets/models/*.yaml; those of your project come first.")


def _row(card: ModelCard, costs: CostModel) -> list[str]:
    price = costs.price(card.name)
    figures = [card.layers, card.width] + (
        [price.input_per_million_usd, price.output_per_million_usd] if price else [None, None]
    )
    parameters = "-" if card.parameters is None else _short(card.parameters)
    if card.active_parameters is not None:
        parameters += f" ({_short(card.active_parameters)} active)"
    shown = ["-" if figure is None else f"{figure:g}" for figure in figures]
    return [clean(card.name, limit=NAME_WIDTH), card.source, parameters, *shown]


def _short(n: float) -> str:
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{sign}"
    return f"{n:g}"


def _as_json(card: ModelCard, costs: CostModel) -> dict[str, Any]:
    price = costs.price(card.name)
    return {**card.model_dump(mode="json"), "price": price.model_dump(mode="json") if price else None}
