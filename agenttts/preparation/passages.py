"""Multi-hop questions with about 100 candidate passages each: HotpotQA and 2WikiMultihopQA.

Sources: Yang et al. 2018, arXiv:1809.09600 (distractor setting); Ho et al. 2020, arXiv:2011.01060.

A passage is one sentence, without the title of its paragraph: that is what AgentTTS (arXiv:2508.00890) calls a chunk,
as its published rows for 2WikiMultihopQA show (100 chunks of 24 words, which fit the 2048 tokens of its retrieval
stage; paragraphs would not). Candidates of a question are the sentences of its own paragraphs, gold ones included, and
then the best by BM25 against the question among the sentences of all paragraphs of its split, up to 100. The paper does
not say how its candidates were found; its rows are 100 of BM25 and the gold ones. Where the own paragraphs hold more
than 100 sentences, gold ones stay and the others follow in their order. The order of candidates is that of a hash.

Gold are the sentences of the published supporting facts. Facts that point behind the end of a paragraph, which
HotpotQA has some of, name nothing; a question without any other is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.errors import DataError
from agenttts.preparation.base import (
    Faults,
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
    placed,
    sizes_fact,
    texts,
)
from agenttts.preparation.bm25 import Bm25, library_name

__all__ = ["CANDIDATES", "MOST_PASSAGES", "prepare_questions"]

CANDIDATES = 100
MOST_PASSAGES = 500_000
"""Pool of one split, so that memory stays near 1 GB; the train splits hold several millions."""
LINES_BETWEEN = 100


@dataclass(frozen=True)
class _Question:
    id: str
    text: str
    answers: list[str]
    labels: dict[str, str]
    passages: list[str]
    """Sentences of its own paragraphs, each once."""
    gold: frozenset[str]


def prepare_questions(tables: Tables, wish: Wish, report: Report) -> Made:
    """Return questions with `candidates` (texts) and `gold_candidates` (indices from 0).

    Where there is a table `aliases` (`id_aliases.json` of 2WikiMultihopQA), other names of an answer count as well.
    """
    aliases = {str(column(row, "Q_id")): row for row in tables.beside.get("aliases", ())}
    chosen = divide(
        tables,
        wish,
        lambda row: _question(row, aliases),
        identity=_identity,
        text=lambda question: question.text,
    )
    pools: dict[int, list[str]] = {}
    made: list[list[Row]] = []
    facts = []
    for name, table, questions in (
        ("search", tables.search, chosen.search),
        ("test", tables.test, chosen.test),
    ):
        if id(table) not in pools:
            report(f"{name}: gathering passages")
            pools = {id(table): _pool(table, questions, wish.seed)}
        pool = pools[id(table)]
        facts.append(f"{len(pool):,} passages for {name}")
        made.append(_rows(questions, pool, wish.seed, name, report))
    ranked = [f"{library_name()} ranked {' and '.join(facts)}"]
    n_candidates = [len(row["candidates"]) for rows in made for row in rows]
    facts = [*ranked, sizes_fact("candidates", n_candidates)]
    return Made(made[0], made[1], chosen.left_out, chosen.n_rows, facts, left_out_ids=chosen.left_out_ids)


def _identity(row: Row) -> str:
    return str(column(row, "id", "_id"))


def _question(row: Row, aliases: Mapping[str, Row]) -> _Question:
    pairs = _pairs(column(row, "context"), "context", "title", "sentences")
    passages = _once(sentence for _, sentences in pairs for sentence in _sentences(sentences))
    gold = _gold(row, dict(reversed(pairs)))  # of two paragraphs of one title a fact means the first
    if not gold:
        raise UnusableError("no supporting fact names a sentence")
    question, answer = column(row, "question"), column(row, "answer")
    if not isinstance(question, str) or not isinstance(answer, str) or not answer.strip():
        raise UnusableError("there is no answer")
    named = aliases.get(str(row.get("answer_id")), {})
    labels = {name: str(row[name]) for name in ("type", "level") if row.get(name)}
    answers = _once([answer, *texts(named.get("aliases", []), "aliases")])
    return _Question(_identity(row), question.strip(), answers, labels, passages, frozenset(gold))


def _gold(row: Row, paragraphs: Mapping[str, Any]) -> set[str]:
    facts = _pairs(column(row, "supporting_facts"), "supporting_facts", "title", "sent_id")
    named = [_at(paragraphs.get(title), place) for title, place in facts]
    return {sentence.strip() for sentence in named if sentence.strip()}


def _at(sentences: Any, place: Any) -> str:
    inside = isinstance(sentences, list) and isinstance(place, int) and 0 <= place < len(sentences)
    return str(sentences[place]) if inside else ""


def _pairs(value: Any, name: str, first: str, second: str) -> list[tuple[str, Any]]:
    """Return pairs, published as a list of pairs, as two columns, or as JSON text of either."""
    value = loaded(value, name)
    if isinstance(value, Mapping):
        value = list(zip(column(value, first), column(value, second), strict=False))
    if not isinstance(value, list) or not all(
        isinstance(one, list | tuple) and len(one) == 2 for one in value
    ):
        raise UnusableError(f"`{name}` holds no pairs")
    return [(str(one), other) for one, other in value]


def _sentences(value: Any) -> list[str]:
    return [sentence.strip() for sentence in texts(value, "context") if sentence.strip()]


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _pool(rows: Iterable[Row], questions: Sequence[_Question], seed: int) -> list[str]:
    """Return the sentences of a table, each once; of a large one, those of a share of its rows chosen by hash."""
    n_rows = sum(1 for _ in rows)
    each = sum(len(question.passages) for question in questions) / max(1, len(questions))
    share = MOST_PASSAGES / max(1.0, each * n_rows)
    found: set[str] = set()
    faults = Faults()
    for place, row in placed(rows, faults):
        if int(hashed(seed, "pool", _identity(row))[:8], 16) / 16**8 < share:
            try:
                found.update(_all_sentences(row))
            except DataError as error:
                faults.add(f"{place} (id {_identity(row)})", str(error))
    faults.check()
    # In the order of their hashes, so that ties between passages do not go by the order of the published rows.
    return sorted(found, key=lambda passage: hashed(seed, passage))[:MOST_PASSAGES]


def _all_sentences(row: Row) -> list[str]:
    try:
        pairs = _pairs(column(row, "context"), "context", "title", "sentences")
        return [sentence for _, sentences in pairs for sentence in _sentences(sentences)]
    except UnusableError:
        return []  # such a row is counted where it is chosen


def _rows(
    questions: Sequence[_Question], pool: Sequence[str], seed: int, name: str, report: Report
) -> list[Row]:
    report(f"{name}: BM25 over {len(pool):,} passages")
    index = Bm25(pool)
    rows: list[Row] = []
    for number, question in enumerate(questions, start=1):
        rows.append(_problem(question, index, pool, seed))
        if number % LINES_BETWEEN == 0:
            report(f"{name}: {number:,} of {len(questions):,} questions")
    return rows


def _problem(question: _Question, index: Bm25, pool: Sequence[str], seed: int) -> Row:
    gold = [passage for passage in question.passages if passage in question.gold]
    near = (pool[place] for place in index.best(question.text, CANDIDATES + len(question.passages)))
    chosen = _once([*gold, *question.passages, *near])[: max(CANDIDATES, len(gold))]
    ordered = sorted(chosen, key=lambda passage: hashed(seed, question.id, passage))
    return {
        "id": question.id,
        "question": question.text,
        "answers": question.answers,
        **question.labels,
        "candidates": ordered,
        "gold_candidates": [place for place, passage in enumerate(ordered) if passage in question.gold],
    }
