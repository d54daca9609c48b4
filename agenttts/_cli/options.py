"""Options that several commands have in common. Only `typer` is imported here, so that `--help` answers at once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import complete_cards, complete_data_file, complete_runs, complete_tasks

__all__ = [
    "BatchOption",
    "BudgetOption",
    "ConcurrencyOption",
    "ConfirmOption",
    "DataOption",
    "EndpointOption",
    "JobsOption",
    "JsonOption",
    "PlannerBudgetOption",
    "PlannerOption",
    "PlannerPromptsOption",
    "PlannerTimeoutOption",
    "RacingOption",
    "RunArgument",
    "RunsFolderOption",
    "SearchBudgetOption",
    "SearchProblemsOption",
    "SeedsOption",
    "Source",
    "SourceOption",
    "Split",
    "StoreOption",
    "TaskArgument",
    "TrialsOfEachOption",
    "TrustOption",
    "YesOption",
]


class Source(StrEnum):
    """Which client talks to an endpoint."""

    OPENAI = "openai"
    LITELLM = "litellm"


class Split(StrEnum):
    """Which problems to answer."""

    TEST = "test"
    SEARCH = "search"


TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task file, its folder, or a name that `agenttts tasks` lists.",
        autocompletion=complete_tasks,
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, or the name of a run under runs/.",
        autocompletion=complete_runs,
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        "-b",
        metavar="AMOUNT[UNIT]",
        help="Most that one problem may cost, e.g. 1e6 or 0.002usd. Units: gflops, usd, tokens, seconds, paper.",
        show_default="the task's",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="In place of the task's data: a file, which is divided into search and test problems, or a folder with "
        "search.* and test.* (jsonl, csv, parquet, also .gz). Looked up here, then beside the task file.",
        show_default="the task's",
        autocompletion=complete_data_file,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where draws are kept: sqlite:///file, postgresql+psycopg://..., memory:",
        show_default="runs/samples.sqlite",
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Ask the models of stages at this OpenAI-compatible base URL. It is sent the key of OPENAI_API_KEY (or of the "
        "card's api_key_env), if set. Models that score or select, and the planner, stay where their cards say: to move "
        "one, give it a card of your own with another base_url.",
    ),
]
SourceOption = Annotated[
    Source | None, typer.Option(help="Client used for --endpoint.", show_default="openai")
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Run the Python functions that the task names.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, help="Problems worked on at a time.", show_default="32")
]
SearchProblemsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Use only N search problems.", show_default="the task's"),
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Searches of each, with seeds 0, 1, ...")]
TrialsOfEachOption = Annotated[int, typer.Option(min=1, help="Allocations that each search tries.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Trials proposed together.")]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Searches that run at a time.", show_default="one a core")
]
RunsFolderOption = Annotated[Path, typer.Option("--folder", help="Folder of the runs.")]
PlannerOption = Annotated[
    str | None,
    typer.Option(
        metavar="CARD",
        help="Model that the allocator asks for advice; any card. It is served from where its card says, unless a stage uses it too.",
        show_default="the task's",
        autocompletion=complete_cards,
    ),
]
PlannerBudgetOption = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT[UNIT]", help="Most that all calls to the planner may cost together."),
]
PlannerTimeoutOption = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="Longest wait for one reply of the planner, with all attempts; then the round goes on without it.",
        show_default="120",
    ),
]
PlannerPromptsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Prompt files (*.j2) that replace the allocator's own; those not there stay.",
    ),
]
SearchBudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT[UNIT]",
        help="Most that the whole search may spend; it stops there and can be resumed.",
    ),
]
ConfirmOption = Annotated[
    bool,
    typer.Option("--confirm/--no-confirm", help="Score the winner on problems not used for choosing."),
]
RacingOption = Annotated[
    bool,
    typer.Option(
        "--racing/--no-racing",
        help="End a trial as soon as it is surely worse than the best so far, or surely over the budget.",
    ),
]
YesOption = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Agree to spending money. Without it you are asked, or, off a terminal, refused (code 2).",
    ),
]
