from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.task.data import Row, Table
from agenttts.task.schema import DataBlock, SplitBlock, SplitsBlock
from agenttts.task.splits import MISSING, Parts, divide, lookup


def _table(rows: list[dict[str, Any]], name: str = "rows") -> Table:
    return Table(name, tuple(Row(i, i + 1, fields) for i, fields in enumerate(rows)), "")


def _rows(n: int) -> list[dict[str, Any]]:
    return [{"id": f"p{i}", "half": i % 2, "text": f"text {i}"} for i in range(n)]


def _divided(
    splits: SplitsBlock, rows: list[dict[str, Any]], id_field: str | None = "id", **options: Any
) -> Parts:
    table = _table(rows)
    parts, complaints = divide(splits, table, table, (id_field, id_field), **options)
    assert complaints == []
    return parts


def _ids(parts: Parts) -> tuple[list[str], list[str]]:
    return [p.id for p in parts.search], [p.id for p in parts.test]


@given(st.integers(2, 60), st.integers(0, 5), st.integers(1, 59), st.data())
def test_no_problem_is_in_both_splits_and_row_order_does_not_matter(
    n: int, seed: int, n_search: int, data: Any
) -> None:
    splits = SplitsBlock(seed=seed, search=SplitBlock(n=min(n_search, n - 1)))
    rows = _rows(n)
    search, test = _ids(_divided(splits, rows))
    assert not set(search) & set(test)
    assert sorted(search + test) == sorted(row["id"] for row in rows)
    data.draw(st.randoms(use_true_random=False)).shuffle(rows)
    assert _ids(_divided(splits, rows)) == (search, test)


def test_search_takes_at_most_half_where_nothing_is_said() -> None:
    search, test = _ids(_divided(SplitsBlock(), _rows(9)))
    assert (len(search), len(test)) == (4, 5)


def test_another_seed_takes_other_problems() -> None:
    first = _ids(_divided(SplitsBlock(search=SplitBlock(n=10)), _rows(100)))
    second = _ids(_divided(SplitsBlock(search=SplitBlock(n=10), seed=1), _rows(100)))
    assert set(first[0]) != set(second[0])


def test_fewer_search_problems_are_a_beginning_and_leave_the_test_problems() -> None:
    splits = SplitsBlock(search=SplitBlock(n=20), test=SplitBlock(n=20))
    search, test = _ids(_divided(splits, _rows(60)))
    fewer, same_test = _ids(_divided(splits, _rows(60), n_search=5))
    assert (fewer, same_test) == (search[:5], test)


def test_where_compares_values_and_text_of_csv() -> None:
    splits = SplitsBlock(search=SplitBlock(where={"half": 0}), test=SplitBlock(where={"half": 1}))
    rows = _rows(10)
    as_text = [{**row, "half": str(row["half"])} for row in rows]
    assert _ids(_divided(splits, rows)) == _ids(_divided(splits, as_text))
    assert sorted(_ids(_divided(splits, rows))[0]) == ["p0", "p2", "p4", "p6", "p8"]


def test_true_is_not_one() -> None:
    rows = [{"id": "a", "flag": 1}, {"id": "b", "flag": True}, {"id": "c", "flag": "true"}]
    splits = SplitsBlock(search=SplitBlock(where={"flag": True}), test=SplitBlock(where={"flag": 1}))
    search, test = _ids(_divided(splits, rows))
    assert (sorted(search), test) == (["b", "c"], ["a"])


def test_overlapping_conditions_on_one_source_stay_disjoint() -> None:
    splits = SplitsBlock(search=SplitBlock(n=4, where={"half": 0}), test=SplitBlock(where={"half": 0}))
    search, test = _ids(_divided(splits, _rows(20)))
    assert (len(search), len(test), set(search) & set(test)) == (4, 6, set())


def test_rows_without_id_are_numbered_and_equal_rows_never_part() -> None:
    rows = [{"text": f"text {i % 10}"} for i in range(30)]
    parts = _divided(SplitsBlock(search=SplitBlock(n=10)), rows, id_field=None)
    assert all(problem.id.startswith("row-") for problem in parts.search)
    assert not {p.fields["text"] for p in parts.search} & {p.fields["text"] for p in parts.test}


def _own_sources(search: list[dict[str, Any]], test: list[dict[str, Any]], id_field: str | None) -> list[str]:
    splits = SplitsBlock(test=SplitBlock(data=DataBlock(path="test.jsonl")))
    _, complaints = divide(splits, _table(search), _table(test, "test"), (id_field, id_field))
    return [f"{'.'.join(c.key)}: {c.message}" for c in complaints]


def test_sources_that_share_an_id_are_refused() -> None:
    rows = _rows(4)
    assert _own_sources(rows[:3], rows[2:], "id") == [
        "splits.test.data: 1 problem of the search data, e.g. 'p2', is also in the test data."
    ]


def test_sources_without_ids_are_compared_by_contents() -> None:
    rows = _rows(4)
    assert _own_sources(rows[:2], rows[2:], None) == []
    assert _own_sources(rows[:3], rows[2:], None) == [
        "splits.test.data: 1 problem of the search data, e.g. 'search-row-2', is also in the test data."
    ]


def test_rows_without_id_in_a_file_with_ids_are_told() -> None:
    table = _table([{"id": "a"}, {"id": None}, {"id": "c"}, {}])
    _, complaints = divide(SplitsBlock(), table, table, ("id", "id"))
    assert [str(complaint.mistake) for complaint in complaints] == [
        "rows:2: id: this row has no id.",
        "rows:4: id: this row has no id.",
    ]


def test_search_that_takes_everything_leaves_no_test() -> None:
    table = _table(_rows(3))
    _, complaints = divide(SplitsBlock(search=SplitBlock(n=3)), table, table, ("id", "id"))
    assert [(c.key, c.message) for c in complaints] == [
        (("splits", "test"), "the split is empty (3 are search problems).")
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b.1", 20), ("a.c", MISSING), ("a.b.2", MISSING), ("x.y", "dotted"), ("a.b.x", MISSING)],
)
def test_lookup_follows_dotted_paths(path: str, value: object) -> None:
    assert lookup({"a": {"b": [10, 20]}, "x.y": "dotted"}, path) == value


def test_order_within_a_split_is_not_the_order_of_the_file() -> None:
    rows = _rows(50)
    search = _ids(_divided(SplitsBlock(search=SplitBlock(n=40)), rows))[0]
    positions = [int(name[1:]) for name in search]
    assert positions != sorted(positions)
