"""What reaches the terminal is clean, and every ending has its exit code."""

import json

import pytest
import typer

from agenttts import errors
from agenttts._cli.console import clean, clean_lines, ending, fold, table


def test_terminal_escapes_are_shown_and_not_obeyed():
    assert clean("\x1b[31mred\x07\u202eevil\u200b\x9b2J") == "\\x1b[31mred\\x07\\x202eevil\\x200b\\x9b2J"


def test_line_breaks_and_length_are_kept_in_check():
    assert clean("a\nb\r") == "a⏎b\\x0d"
    assert clean("x" * 500, limit=10) == "x" * 9 + "…"
    assert clean("x" * 10, limit=10) == "x" * 10


def test_brackets_stay_brackets():
    assert clean("[bold]no markup[/bold]") == "[bold]no markup[/bold]"


def test_own_messages_keep_their_lines():
    assert clean_lines("one\ntwo\x1b[0m") == "one\ntwo\\x1b[0m"


def test_text_is_folded_to_eighty_columns_under_its_label():
    lines = fold("word " * 40, first="  label  ").splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("         word")


@pytest.mark.parametrize(("columns", "widest"), [("50", 50), ("20", 40), ("200", 80)])
def test_text_is_folded_to_a_narrow_terminal(columns, widest, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert widest - 5 <= max(len(line) for line in fold("word " * 60).splitlines()) <= widest


def test_columns_line_up():
    assert table(["a", "n"], [["xx", "1"], ["y", "22"]], right=[1]) == "a    n\nxx   1\ny   22"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("no"), 2),
        (
            errors.TaskFileError(
                [errors.Mistake("t.yaml", 3, "stages.x", "unknown key", "Did you mean `y`?")]
            ),
            2,
        ),
        (errors.InfeasibleBudgetError("no"), 3),
        (errors.SearchBudgetExhausted("no"), 3),
        (errors.AuthenticationError("no"), 4),
        (errors.StoreError("no"), 2),
        (PermissionError(13, "Permission denied", "runs"), 2),
        (ZeroDivisionError("no"), 1),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
    ],
)
def test_every_ending_has_its_code_and_no_traceback(error, code, capsys, monkeypatch):
    monkeypatch.delenv("AGENTTTS_DEBUG", raising=False)
    with pytest.raises(typer.Exit) as end, ending():
        raise error
    assert end.value.exit_code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.strip()


def test_the_traceback_is_shown_on_request(capsys, monkeypatch):
    monkeypatch.setenv("AGENTTTS_DEBUG", "1")
    with pytest.raises(typer.Exit), ending():
        raise ZeroDivisionError("here")
    assert "Traceback" in capsys.readouterr().err


def test_an_error_under_json_is_one_object_on_standard_output(capsys):
    with pytest.raises(typer.Exit), ending(as_json=True):
        raise errors.RunError("the folder is in use\x1b[2J")
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": {"kind": "RunError", "message": "the folder is in use\\x1b[2J", "exit_code": 2}
    }
    assert "\x1b" not in err


def test_what_the_file_system_refuses_is_not_called_a_bug(capsys):
    with pytest.raises(typer.Exit), ending():
        raise PermissionError(13, "Permission denied", "runs")
    err = capsys.readouterr().err
    assert "runs" in err
    assert "bug" not in err
