"""Which tasks have data that must be prepared, what they are made of and by what.

Revisions are commits of the data sets. A recipe's version goes up when its outcome changes for the same input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agenttts.preparation.base import Made, Report, Tables, Wish
from agenttts.preparation.contests import prepare_contests
from agenttts.preparation.passages import prepare_questions
from agenttts.preparation.software import prepare_requirements
from agenttts.preparation.sources import Published, Wanted
from agenttts.preparation.tools import prepare_requests
from agenttts.preparation.triplets import prepare_graphs

__all__ = ["RECIPES", "SEARCH_FILE", "TEST_FILE", "Recipe"]

SEARCH_FILE, TEST_FILE = "search.jsonl", "test.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How the data of one task are made."""

    version: int
    outcome: str
    """One line."""
    published: Published
    prepare: Callable[[Tables, Wish, Report], Made]
    ranks: bool = False
    """Needs BM25."""
    has_dates: bool = False
    """Reads dates of contests and the size of hidden tests."""
    n_search: int = 200
    n_test: int = 1000


TRAIN = r"(^|[/_.-])train"
HELD_OUT = r"(^|[/_.-])(validation|valid|dev)"
TEST = r"(^|[/_.-])test"
DAILY = r"dailylife[^/]*/"
TABLE_OF_TOOLS = (rf"{DAILY}data\.parquet", rf"{DAILY}data\.json", r"(^|/)data\.(parquet|json)")
TOOLS = (rf"{DAILY}tool_desc\.json", rf"{DAILY}graph_desc\.json", r"(^|/)(tool|graph)_desc\.json")
SRDD = "https://raw.githubusercontent.com/OpenBMB/ChatDev/b967bc479a3c9204d076e21d2aaf45490b3a7981/SRDD/data/data_attribute_format.csv"
CSV, CONTESTS = (r"data_attribute_format\.csv", r"\.csv"), (r"(^|/)test\d*\.jsonl",)

MULTI_HOP = "questions with up to 100 candidate sentences, the own paragraphs' and BM25's; search from train, test from validation"
GRAPH = "questions with up to 100 candidate triplets, gold on shortest paths and the rest by BM25; search from train, test from test"

RECIPES: Mapping[str, Recipe] = {
    "2wikimultihopqa": Recipe(
        version=1,
        outcome=MULTI_HOP,
        published=Published(
            "xanhho/2WikiMultihopQA",
            "612bc5039a457880d9e7d84c3b0a4cf154b70e4f",
            "Apache-2.0",
            Wanted((TRAIN,), (HELD_OUT,), {"aliases": (r"id_aliases\.json",)}),
        ),
        prepare=prepare_questions,
        ranks=True,
    ),
    "chatdev": Recipe(
        version=1,
        outcome="requirements of small programs, divided by hash",
        published=Published(SRDD, "", "CC BY-NC 4.0 (non-commercial use only)", Wanted(CSV, CSV, {})),
        prepare=prepare_requirements,
    ),
    "cwq": Recipe(
        version=1,
        outcome=GRAPH,
        published=Published(
            "rmanluo/RoG-cwq",
            "b0f6275586286312c4e99ef4b0adc65463c91f8e",
            "questions: not stated by AllenAI; Freebase: CC BY",
            Wanted((TRAIN,), (TEST,), {}),
        ),
        prepare=prepare_graphs,
        ranks=True,
    ),
    "hotpotqa": Recipe(
        version=1,
        outcome=MULTI_HOP,
        published=Published(
            "hotpotqa/hotpot_qa",
            "1908d6afbbead072334abe2965f91bd2709910ab",
            "CC BY-SA 4.0",
            # The setting `fullwiki` has other paragraphs; its files are never meant.
            Wanted(
                (r"distractor/train", r"hotpot_train", rf"{TRAIN}(?!.*fullwiki)"),
                (r"distractor/validation", r"dev_distractor", rf"{HELD_OUT}(?!.*fullwiki)"),
                {},
            ),
        ),
        prepare=prepare_questions,
        ranks=True,
    ),
    "livecodebench": Recipe(
        version=1,
        outcome="contest problems with public and hidden tests, divided by hash; dates of contests can be chosen",
        published=Published(
            "livecodebench/code_generation_lite",
            "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
            "CC, as the set says; the problems are of LeetCode, AtCoder and Codeforces",
            Wanted(CONTESTS, CONTESTS, {}),
        ),
        prepare=prepare_contests,
        has_dates=True,
        n_search=150,
        n_test=450,
    ),
    "taskbench": Recipe(
        version=1,
        outcome="requests for daily-life APIs with all 40 tools and the gold steps, nodes and links, divided by hash",
        published=Published(
            "microsoft/Taskbench",
            "d12764a8fa650f49f50507a02c3e707c71c67621",
            "MIT",
            Wanted(TABLE_OF_TOOLS, TABLE_OF_TOOLS, {"tools": TOOLS}),
        ),
        prepare=prepare_requests,
    ),
    "webqsp": Recipe(
        version=1,
        outcome=GRAPH,
        published=Published(
            "rmanluo/RoG-webqsp",
            "main",  # its commit when it is fetched stands in the record
            "questions: by the terms of Microsoft Research; Freebase: CC BY",
            Wanted((TRAIN,), (TEST,), {}),
        ),
        prepare=prepare_graphs,
        ranks=True,
    ),
}
