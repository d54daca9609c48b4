"""Multi-hop questions: candidates, gold, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agenttts.errors import DataError
from agenttts.preparation.base import Made, Tables, Wish
from agenttts.preparation.passages import CANDIDATES, prepare_questions
from tests.preparation.published import question


def made(
    train: list[dict[str, Any]], dev: list[dict[str, Any]], wish: Wish | None = None, **beside: Any
) -> Made:
    return prepare_questions(Tables(train, dev, beside), wish or Wish(3, 2), lambda line: None)


TRAIN = [question(n) for n in range(60)]
DEV = [question(n) for n in range(100, 140)]


def test_candidates_are_the_own_sentences_and_the_best_of_the_split():
    done = made(TRAIN, DEV)
    assert (len(done.search), len(done.test)) == (3, 2)
    for row in done.search:
        number = row["id"][1:]
        own = {f"Person {number} is a baker.", f"Person {number} was born in Town {number}.",
               f"Town {number} lies on River {number}.", "It has a market.", f"Mill {number} stands alone."}  # fmt: skip
        assert own <= set(row["candidates"])
        assert len(row["candidates"]) == len(set(row["candidates"])) == CANDIDATES
        strangers = [one for one in row["candidates"] if one not in own]
        # Those share three words with the question; "... is a baker" shares one, and there are better ones than 95.
        assert len(strangers) == 95
        assert all("was born" in one or "lies on" in one for one in strangers)


def test_gold_are_the_supporting_sentences():
    for row in made(TRAIN, DEV).test:
        number = row["id"][1:]
        gold = {row["candidates"][place] for place in row["gold_candidates"]}
        assert gold == {
            f"Person {number} was born in Town {number}.",
            f"Town {number} lies on River {number}.",
        }
        assert row["gold_candidates"] == sorted(row["gold_candidates"])
        assert (row["answers"], row["type"], row["level"]) == ([f"River {number}"], "bridge", "medium")


def test_no_sentence_of_the_other_split_is_a_candidate():
    done = made(TRAIN, DEV)
    in_dev = {sentence for row in DEV for sentences in row["context"]["sentences"] for sentence in sentences}
    assert not [
        one for row in done.search for one in row["candidates"] if one in in_dev and one != "It has a market."
    ]


def test_gold_does_not_stand_at_the_same_places():
    assert len({tuple(row["gold_candidates"]) for row in made(TRAIN, DEV, Wish(20, 2)).search}) > 10


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    one = made(TRAIN, DEV)
    assert made(TRAIN[::-1], DEV[::-1]) == one
    other = made(TRAIN, DEV, Wish(3, 2, seed=1))
    assert {row["id"] for row in other.search} != {row["id"] for row in one.search}


def test_the_original_shape_of_pairs_gives_the_same_problems():
    pairs = [question(n, as_pairs=True) for n in range(60)]
    rows = made(pairs, DEV).search
    assert [row["candidates"] for row in rows] == [row["candidates"] for row in made(TRAIN, DEV).search]
    assert "level" not in rows[0]


def test_json_texts_are_read():
    texts = [
        row | {name: json.dumps(row[name]) for name in ("context", "supporting_facts")}
        for row in (question(n, as_pairs=True) for n in range(60))
    ]
    assert made(texts, DEV).search == made([question(n, as_pairs=True) for n in range(60)], DEV).search


def test_other_names_of_an_answer_count():
    rows = [row | {"answer_id": f"Q{n}"} for n, row in enumerate(TRAIN)]
    aliases = [{"Q_id": f"Q{n}", "aliases": [f"The {n}", f"River {n}"], "demonyms": []} for n in range(60)]
    row = made(rows, DEV, aliases=aliases).search[0]
    number = row["id"][1:]
    assert row["answers"] == [f"River {number}", f"The {number}"]


def test_how_many_candidates_came_out_is_told():
    done = made(TRAIN, DEV)
    sizes = [len(row["candidates"]) for row in (*done.search, *done.test)]
    mean = sum(sizes) / len(sizes)
    assert f"a problem has {min(sizes)} to {max(sizes)} candidates, {mean:,.1f} on average" in done.facts
    assert sum("passages for" in fact for fact in done.facts) == 1


def test_facts_behind_the_end_of_a_paragraph_name_nothing():
    broken = question(1) | {"supporting_facts": {"title": ["Person 1", "Town 1"], "sent_id": [1, 902]}}
    nothing = question(2) | {"supporting_facts": {"title": ["Person 2", "Elsewhere"], "sent_id": [7, 0]}}
    done = made([broken, nothing], DEV)
    (row,) = done.search
    assert [row["candidates"][place] for place in row["gold_candidates"]] == ["Person 1 was born in Town 1."]
    assert done.left_out == {"no supporting fact names a sentence": 1}


def test_of_two_paragraphs_of_one_title_a_fact_means_the_first_and_both_are_candidates():
    row = question(1)
    row["context"]["title"].append("Town 1")
    row["context"]["sentences"].append(["Town 1 is also a ship."])
    (problem,) = made([row], DEV).search
    gold = {problem["candidates"][place] for place in problem["gold_candidates"]}
    assert gold == {"Person 1 was born in Town 1.", "Town 1 lies on River 1."}
    assert "Town 1 is also a ship." in problem["candidates"]


def test_gold_stays_where_the_own_paragraphs_are_longer_than_the_candidates():
    long = question(1)
    long["context"]["title"].insert(0, "Long")
    long["context"]["sentences"].insert(0, [f"Sentence {n}." for n in range(150)])
    (row,) = made([long], DEV).search
    assert len(row["candidates"]) == CANDIDATES
    assert len(row["gold_candidates"]) == 2


def test_one_table_is_divided_and_no_question_is_in_both_parts():
    done = prepare_questions(Tables(TRAIN, TRAIN), Wish(30, 10), lambda line: None)
    assert (len(done.search), len(done.test)) == (30, 10)
    assert not {row["id"] for row in done.search} & {row["id"] for row in done.test}


def test_a_table_that_is_too_small_is_divided_in_the_wished_proportion():
    done = prepare_questions(Tables(TRAIN, TRAIN), Wish(200, 1000), lambda line: None)
    assert (len(done.search), len(done.test)) == (10, 50)


def test_a_test_question_that_was_searched_on_is_left_out():
    twin = question(100) | {"question": TRAIN[0]["question"].upper()}
    done = made(TRAIN[:1], [twin, question(101)], Wish(1, 5))
    assert [row["id"] for row in done.test] == ["q101"]
    assert done.left_out == {"its identifier or text was taken before": 1}


def test_other_columns_are_told():
    with pytest.raises(DataError, match=r"no column `context`; its columns: id, text"):
        made([{"id": "1", "text": "x"}], DEV)


def test_no_usable_row_is_an_error_with_the_reasons():
    bad = question(1) | {"answer": " "}
    with pytest.raises(DataError, match="no search problem could be made: there is no answer: 1"):
        made([bad], DEV)
