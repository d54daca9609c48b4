"""Questions on a knowledge graph with 100 candidate triplets each: ComplexWebQuestions and WebQSP.

Sources: Talmor and Berant 2018, arXiv:1803.06643; Yih et al. 2016, ACL P16-2033; their subgraphs of Freebase as RoG
publishes them (Luo et al. 2024, arXiv:2310.01061).

Gold are the triplets on shortest paths between a question entity and an answer entity, whatever way the triplets point,
as RoG takes its paths. Of each pair of entities at most 10 paths count, in the order of the published graph; of two
neighbours on a path every triplet that joins them counts, since nothing says which relation was meant. Departure: RoG
keeps one relation per pair of entities. The published gold of AgentTTS (arXiv:2508.00890) comes from the SPARQL of the
questions, which these sets do not hold.

Candidates are the gold triplets, filled up to 100 by BM25 of the triplet in words ("Spain location country languages
spoken Spanish Language") against the question, in the order of a hash. Questions without gold, or with more than 100,
are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from agenttts.preparation.base import (
    Made,
    Report,
    Row,
    Tables,
    UnusableError,
    Wish,
    column,
    divide,
    hashed,
    loaded,
    sizes_fact,
    texts,
)
from agenttts.preparation.bm25 import Bm25, library_name

__all__ = ["CANDIDATES", "MOST_PATHS", "gold_triplets", "prepare_graphs"]

CANDIDATES = 100
MOST_PATHS = 10
LINES_BETWEEN = 50
WINDOW = 256
"""Rows held at a time; the graph of one takes about a megabyte."""

Triplet = tuple[str, str, str]


def prepare_graphs(tables: Tables, wish: Wish, report: Report) -> Made:
    """Return questions with `candidates` ([head, relation, tail]) and `gold_candidates` (indices from 0)."""
    n_read = 0

    def read(row: Row) -> Row:
        nonlocal n_read
        n_read += 1
        if n_read % LINES_BETWEEN == 0:
            report(f"{n_read:,} questions looked at")
        return _problem(row, wish.seed)

    chosen = divide(
        tables, wish, read, identity=_identity, text=lambda problem: str(problem["question"]), window=WINDOW
    )
    n_gold = [len(row["gold_candidates"]) for row in (*chosen.search, *chosen.test)]
    facts = [
        f"ranked by {library_name()}",
        sizes_fact("candidates", [len(row["candidates"]) for row in (*chosen.search, *chosen.test)]),
        f"a problem has {sum(n_gold) / len(n_gold):.1f} gold triplets on average, {max(n_gold)} at most",
    ]
    return Made(
        chosen.search, chosen.test, chosen.left_out, chosen.n_rows, facts, left_out_ids=chosen.left_out_ids
    )


def _identity(row: Row) -> str:
    return str(column(row, "id"))


def _problem(row: Row, seed: int) -> Row:
    question, answers = column(row, "question"), texts(column(row, "answer"), "answer")
    if not isinstance(question, str) or not any(answer.strip() for answer in answers):
        raise UnusableError("there is no answer")
    topics = texts(column(row, "q_entity"), "q_entity")
    graph = _graph(column(row, "graph"))
    gold = gold_triplets(graph, topics, texts(column(row, "a_entity"), "a_entity"))
    if not gold:
        raise UnusableError("no path in the graph joins a question entity and an answer entity")
    if len(gold) > CANDIDATES:
        raise UnusableError(f"more than {CANDIDATES} gold triplets")
    chosen = _candidates(graph, gold, question)
    ordered = sorted(chosen, key=lambda triplet: hashed(seed, _identity(row), *triplet))
    wanted = set(gold)
    return {
        "id": _identity(row),
        "question": question.strip(),
        "answers": list(dict.fromkeys(answer for answer in answers if answer.strip())),
        "topic_entities": topics,
        "candidates": [list(triplet) for triplet in ordered],
        "gold_candidates": [place for place, triplet in enumerate(ordered) if triplet in wanted],
    }


def _graph(value: Any) -> list[Triplet]:
    triplets = loaded(value, "graph")
    if not isinstance(triplets, list) or not all(
        isinstance(one, list | tuple) and len(one) == 3 and all(isinstance(part, str) for part in one)
        for one in triplets
    ):
        raise UnusableError("`graph` holds no triplets")
    return list(dict.fromkeys((head, relation, tail) for head, relation, tail in triplets))


def _candidates(graph: Sequence[Triplet], gold: Sequence[Triplet], question: str) -> list[Triplet]:
    best = Bm25([_words(triplet) for triplet in graph]).best(question, CANDIDATES)
    return list(dict.fromkeys([*gold, *(graph[place] for place in best)]))[:CANDIDATES]


def _words(triplet: Triplet) -> str:
    head, relation, tail = triplet
    return f"{head} {re.sub('[._]+', ' ', relation)} {tail}"


def gold_triplets(graph: Sequence[Triplet], topics: Sequence[str], answers: Sequence[str]) -> list[Triplet]:
    """Return the triplets on shortest paths from topics to answers, in the order of the graph."""
    joined: dict[tuple[str, str], list[Triplet]] = defaultdict(list)
    near: dict[str, dict[str, None]] = defaultdict(dict)
    for triplet in graph:
        head, _, tail = triplet
        joined[_pair(head, tail)].append(triplet)
        near[head][tail] = near[tail][head] = None
    found: set[Triplet] = set()
    for answer in dict.fromkeys(answers):
        away = _distances(near, answer)
        for topic in dict.fromkeys(topics):
            for path in _paths(near, away, topic):
                found.update(triplet for a, b in pairwise(path) for triplet in joined[_pair(a, b)])
    return [triplet for triplet in graph if triplet in found]


def _pair(one: str, two: str) -> tuple[str, str]:
    return (one, two) if one <= two else (two, one)


def _distances(near: Mapping[str, Mapping[str, None]], start: str) -> dict[str, int]:
    """Return how many steps every reachable entity is away."""
    away = {start: 0} if start in near else {}
    waiting = deque(away)
    while waiting:
        entity = waiting.popleft()
        for other in near[entity]:
            if other not in away:
                away[other] = away[entity] + 1
                waiting.append(other)
    return away


def _paths(near: Mapping[str, Mapping[str, None]], away: Mapping[str, int], start: str) -> list[list[str]]:
    """Return the first `MOST_PATHS` shortest paths to where `away` is 0."""
    if not away.get(start):
        return []  # not joined, or the answer itself
    done: list[list[str]] = []
    waiting = [[start]]
    while waiting and len(done) < MOST_PATHS:
        path = waiting.pop()
        if not away[path[-1]]:
            done.append(path)
            continue
        closer = [other for other in near[path[-1]] if away.get(other) == away[path[-1]] - 1]
        waiting += [[*path, other] for other in reversed(closer)]
    return done
