"""Questions on a graph: shortest paths, candidates, and what is left out."""

from __future__ import annotations

import pytest

from agenttts.preparation.base import Tables, Wish
from agenttts.preparation.triplets import CANDIDATES, MOST_PATHS, gold_triplets, prepare_graphs
from tests.preparation.published import graph_question

A, B, C, D = "a", "b", "c", "d"


def made(rows, other=None, wish=None):
    return prepare_graphs(
        Tables(rows, other or [graph_question(n) for n in range(50, 55)]),
        wish or Wish(3, 2),
        lambda line: None,
    )


@pytest.mark.parametrize(
    ("graph", "topics", "answers", "gold"),
    [
        ([(A, "r", B), (B, "r", C), (A, "r", D)], [A], [C], [0, 1]),
        ([(B, "r", A), (C, "r", B)], [A], [C], [0, 1]),  # whatever way they point
        ([(A, "r", B), (A, "s", B), (B, "t", A)], [A], [B], [0, 1, 2]),  # every relation that joins
        ([(A, "r", B), (B, "r", C), (A, "r", C)], [A], [C], [2]),  # the longer way is none
        ([(A, "r", B), (C, "r", B), (A, "r", D)], [A, C], [B], [0, 1]),  # two topics
        ([(A, "r", B), (A, "r", C)], [A], [B, C, "elsewhere"], [0, 1]),
        ([(A, "r", B), (C, "r", D)], [A], [C], []),  # not joined
        ([(A, "r", B)], [A], [A], []),  # the topic is the answer
        ([], [A], [B], []),
    ],
)  # fmt: skip
def test_gold_are_the_triplets_on_shortest_paths(graph, topics, answers, gold):
    assert gold_triplets(graph, topics, answers) == [graph[place] for place in gold]


def test_of_many_paths_the_first_in_the_graph_count():
    graph = [triplet for n in range(30) for triplet in ((A, "r", f"via {n}"), (f"via {n}", "r", B))]
    assert gold_triplets(graph, [A], [B]) == graph[: 2 * MOST_PATHS]


def test_candidates_are_gold_and_the_best_by_bm25():
    for row in made([graph_question(n) for n in range(10)]).search:
        number = row["id"][1:]
        gold = [row["candidates"][place] for place in row["gold_candidates"]]
        assert sorted(gold) == sorted(
            [[f"Country {number}", "location.country.spoken", f"m.0{number}"],
             [f"m.0{number}", "language.use.language", f"Language {number}"]]
        )  # fmt: skip
        assert len(row["candidates"]) == CANDIDATES
        # Both hold a word of the question that few others hold.
        assert [f"Language {number}", "language.family", f"Family {number}"] in row["candidates"]
        assert (row["answers"], row["topic_entities"]) == ([f"Language {number}"], [f"Country {number}"])


def test_a_small_graph_gives_all_its_triplets_once():
    row = graph_question(1)
    row["graph"] = [*row["graph"][:4], row["graph"][0]]
    (problem,) = made([row]).search
    assert sorted(problem["candidates"]) == sorted(row["graph"][:4])


def test_what_cannot_be_used_is_counted_by_its_reason():
    lonely = graph_question(1) | {"a_entity": ["Language 2"]}
    many = graph_question(2)
    many["a_entity"] = [f"Village 2-{place}" for place in range(101)]
    silent = graph_question(3) | {"answer": []}
    broken = graph_question(4) | {"graph": [["a", "b"]]}
    done = made([lonely, many, silent, broken, graph_question(5)])
    assert [row["id"] for row in done.search] == ["g5"]
    assert done.left_out == {
        "no path in the graph joins a question entity and an answer entity": 1,
        "more than 100 gold triplets": 1,
        "there is no answer": 1,
        "`graph` holds no triplets": 1,
    }


def test_the_same_seed_gives_the_same_problems_in_any_order_of_rows():
    rows = [graph_question(n) for n in range(10)]
    assert made(rows) == made(rows[::-1])
    assert made(rows, wish=Wish(3, 2, seed=5)) != made(rows)
