"""Tables of recorded draws are checked whole: every mistake is told with file, row, column and what was expected."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from agenttts.errors import DataError
from agenttts.models.recorded_draws import cells, chains, read_draws

HEADER = (
    "stage,model,model_params_b,variant,example_id,sample_index,parent_sample_index,answer,score,prompt_tokens,"
    "completion_tokens,tokens_estimated,split"
)


def write(folder: Path, *rows: str, header: str = HEADER, name: str = "draws.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_draws(path)
    return str(caught.value)


def test_columns_of_the_replay_schema_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "solve,big,7,cap,p1,0,,42,1,10,20,1,train", "solve,big,7,cap,p1,1,,,0,10,,0,train")
    first, second = read_draws(path).draws
    assert (first.model, first.problem_id, first.answer, first.score) == ("big@cap", "p1", "42", 1.0)
    assert (first.prefill_tokens, first.decode_tokens, first.estimated) == (10, 20, True)
    assert (first.parameters, first.split, first.parent, first.text) == (7e9, "search", None, None)
    assert (second.answer, second.decode_tokens, second.estimated) == ("", None, False)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "solve,big,7,,p1,0,,42,1,10,20,0,train",
        "solve,big,7,,p1,0,,42,1,10,20,0,train",
        "solve,big,8,,p1,1,,42,1.5,10,20,0,train",
        ",big,7,,p1,2,,42,1,ten,20,0,train",
        "solve,big,7,,p1,x,,42,1,10,20,maybe,validation",
        "solve,big,7",
        "solve,big,0,,p1,-3,,,,,,,",
    )
    assert refused(path).splitlines() == [
        f"{path}: row 3, column sample_index: draw 0 of problem 'p1' at stage 'solve' with model 'big' is there twice, "
        "first in row 2",
        f"{path}: row 4, column score: expected a number in [0, 1] or nothing, got '1.5'",
        f"{path}: row 5, column stage: expected a value, it is empty",
        f"{path}: row 5, column prompt_tokens: expected a whole number or nothing, got 'ten'",
        f"{path}: row 6, column sample_index: expected a whole number of at least 0, got 'x'",
        f"{path}: row 6, column tokens_estimated: expected 0, 1 or nothing, got 'maybe'",
        f"{path}: row 6, column split: expected search, train, dev, test or nothing, got 'validation'",
        f"{path}: row 7: expected 13 fields as in the header, got 3",
        f"{path}: row 8, column sample_index: expected a whole number of at least 0, got '-3'",
        f"{path}: row 8, column model_params_b: expected a number above 0 (billions of parameters), got '0'",
    ]


def test_flags_and_splits_that_mean_nothing_are_mistakes(tmp_path: Path) -> None:
    told = refused(write(tmp_path, "solve,big,,,p1,0,,42,1,10,20,maybe,validation"))
    assert "row 2, column tokens_estimated: expected 0, 1 or nothing, got 'maybe'" in told
    assert "row 2, column split: expected search, train, dev, test or nothing, got 'validation'" in told


def test_a_model_of_two_sizes_is_a_mistake(tmp_path: Path) -> None:
    told = refused(write(tmp_path, "s,m,7,,p,0,,x,1,1,1,0,", "s,m,8,,p,1,,x,1,1,1,0,"))
    assert (
        "row 3, column model_params_b: model 'm' has 8 billion parameters, but 7 billion parameters in row 2"
        in told
    )


def test_a_table_of_another_kind_tells_its_first_mistakes(tmp_path: Path) -> None:
    told = refused(write(tmp_path, *["s,m,,,p,x,,,,,,,"] * 50)).splitlines()
    assert len(told) == 21
    assert told[-1] == "... and 30 more mistakes"


def test_a_misspelt_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "s,m,p,0,x", header="stage,model,problem_id,sampel_index,text")
    assert "column sample_index is missing" in refused(path)
    assert "Did you mean `sampel_index`?" in refused(path)


def test_an_empty_table_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    assert "holds no draws" in refused(write(tmp_path))
    assert "cannot be read" in refused(tmp_path / "nowhere.csv")
    path = tmp_path / "draws.csv.gz"
    path.write_bytes(gzip.compress(b"stage,model")[:-4])
    assert "not a CSV table" in refused(path)


def test_columns_that_nothing_reads_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path, "t,s,m,p,0,x,1", header="task,stage,model,problem_id,sample_index,text,temperature"
    )
    assert read_draws(path).ignored == ("temperature",)


def test_parquet_and_csv_give_the_same_draws(tmp_path: Path) -> None:
    rows = [("s", "m", "p", i, "x", None if i else 1.0, 5, 6) for i in range(3)]
    names = [
        "stage",
        "model",
        "problem_id",
        "sample_index",
        "text",
        "score",
        "prefill_tokens",
        "decode_tokens",
    ]
    path = tmp_path / "draws.parquet"
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    assert read_draws(path).draws == read_draws(write(tmp_path, *lines, header=",".join(names))).draws


def test_cells_count_problems_draws_gaps_scores_and_tokens(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "s,m,2,,p1,0,,a,1,10,20,1,",
        "s,m,2,,p1,1,,,0,10,30,0,",
        "s,m,2,,p1,3,,a,1,10,,0,",
        "s,m,2,,p2,0,,b,,20,40,0,",
    )
    (cell,) = cells(read_draws(path).draws)
    assert (cell.n_problems, cell.n_draws, cell.least, cell.most, cell.n_gaps) == (2, 4, 1, 3, 1)
    assert (cell.n_answered, cell.n_scored, cell.n_uncounted, cell.n_estimated) == (3, 3, 1, 1)
    assert (cell.mean_score, cell.mean_decode_tokens, cell.most_decode_tokens) == (2 / 3, 30, 40)


def test_turns_and_continued_draws_are_told_apart(tmp_path: Path) -> None:
    turns = [f"debug,m,,,p,{i},{'' if i == 0 else i - 1},x,1,1,1,0," for i in range(4)]
    repairs = [f"repair,m,,,p,{i},{i},x,1,1,1,0," for i in range(4)]
    free = [f"solve,m,,,p,{i},,x,1,1,1,0," for i in range(4)]
    found = chains(read_draws(write(tmp_path, *turns, *repairs, *free)).draws)
    assert set(found) == {"debug", "repair"}
    assert "turns" in found["debug"]
    assert "earlier stage" in found["repair"]


@pytest.mark.skipif(
    "AGENTTTS_REPLAY" not in os.environ, reason="AGENTTTS_REPLAY names no folder of replay tables"
)
def test_a_table_of_280_800_rows_is_read_in_seconds() -> None:
    start = time.process_time()
    table = read_draws(Path(os.environ["AGENTTTS_REPLAY"]) / "lcb_code_repair.csv.gz")
    assert len(table.draws) == 280_800
    assert time.process_time() - start < 20


def test_negative_token_counts_are_mistakes_with_row_and_column(tmp_path: Path) -> None:
    told = refused(write(tmp_path, "s,m,7,,p,0,,x,1,-1,1,0,", "s,m,7,,p,1,,x,1,1,-7,0,")).splitlines()
    assert [line.partition(": ")[2] for line in told] == [
        "row 2, column prompt_tokens: expected a whole number or nothing, got '-1'",
        "row 3, column completion_tokens: expected a whole number or nothing, got '-7'",
    ]


def test_a_parent_that_is_not_there_is_a_mistake_with_row_and_column(tmp_path: Path) -> None:
    told = refused(
        write(tmp_path, "s,m,7,,p,0,,x,1,1,1,0,", "t,m,7,,p,1,0,x,1,1,1,0,", "t,m,7,,p,2,9,x,1,1,1,0,")
    )
    assert told.partition(": ")[2] == (
        "row 4, column parent_sample_index: expected the sample_index of a draw of problem 'p', which has no draw 9"
    )


def test_a_file_that_is_no_table_by_its_name_is_refused_with_the_names_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, "s,m,7,,p,0,,x,1,1,1,0,", name="draws.xlsx")
    assert refused(path) == f"{path}: a table of draws ends in .csv, .csv.gz or .parquet"


def test_a_row_with_a_strange_number_of_the_draw_tells_its_other_mistakes_too(tmp_path: Path) -> None:
    header = "stage,model,problem_id,sample_index,answer,score,decode_tokens"
    path = write(tmp_path, "solve,m,1,z,4,2,-3", header=header)
    assert refused(path).splitlines() == [
        f"{path}: row 2, column sample_index: expected a whole number of at least 0, got 'z'",
        f"{path}: row 2, column decode_tokens: expected a whole number or nothing, got '-3'",
        f"{path}: row 2, column score: expected a number in [0, 1] or nothing, got '2'",
    ]


def test_columns_that_are_missing_are_told_beside_the_names_that_the_table_has(tmp_path: Path) -> None:
    path = write(tmp_path, "s,m,x,1", header="stage,model,text,prompt_tokens")
    assert refused(path) == (
        f"{path}: columns problem_id, sample_index are missing; it has stage, model, text, prompt_tokens."
    )
    path = write(tmp_path, "s,m,p,0", header="stage,model,problem_id,sample_index")
    assert f"{path}: column text (or answer) is missing" in refused(path)


def test_a_column_under_two_of_its_names_is_told_by_both(tmp_path: Path) -> None:
    header = "stage,model,example_id,problem_id,sample_index,text"
    told = refused(write(tmp_path, "s,m,p,p,0,x", header=header))
    assert "columns example_id, problem_id: every column may be there once" in told


@pytest.mark.parametrize("after", ["s,m,p,2,z", 's,m,p,2,"z"'])
def test_a_quote_that_is_not_closed_is_told_with_its_row(tmp_path: Path, after: str) -> None:
    path = write(
        tmp_path, "s,m,p,0,x", 's,m,p,1,"y', after, header="stage,model,problem_id,sample_index,text"
    )
    told = refused(path)
    assert told.startswith(f"{path}: row 3: not CSV: ")
    assert "is not closed" in told


def test_a_text_over_several_lines_with_quotes_in_it_is_one_row(tmp_path: Path) -> None:
    rows = ['s,m,p,0,"say ""x""\nand, then"', 's,m,p,1,5" wide']
    path = write(tmp_path, *rows, header="stage,model,problem_id,sample_index,text")
    assert [draw.text for draw in read_draws(path).draws] == ['say "x"\nand, then', '5" wide']
