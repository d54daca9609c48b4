"""Each broken task file is refused with file, line, key, what was expected and the nearest right name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.budgets.cost import Unit
from agenttts.errors import TaskFileError
from agenttts.task.task import Task
from tests.task.conftest import ROWS

Write = Callable[..., Path]

BROKEN = {
    "misspelt key": (
        [("n_samples: [1, 4]", "n_sample: [1, 4]")],
        "sums.yaml:15: stages.draft.n_sample: unknown key.\nDid you mean `n_samples`?",
    ),
    "unknown key": (
        [("n_samples: [1, 4]", "colour: red")],
        "sums.yaml:15: stages.draft.colour: unknown key.\nKnown keys here: needs, when, otherwise, pool, shared_by, optional, function, test, prompt, models, modes, n_samples, "
        "sampling, parse, select, score, lengths.",
    ),
    "unknown model": (
        [("models: [small]", "models: [smal]")],
        "sums.yaml:14: stages.draft.models.0: there is no model card `smal`.\nDid you mean `small`?",
    ),
    "reward model as writer": (
        [("models: [small]", "models: [small, tiny/prm]")],
        "sums.yaml:14: stages.draft.models.1: `tiny/prm` scores samples and cannot write any.\n"
        "Name it in `select`, e.g. {kind: best_of_n, verifier: tiny_prm}.",
    ),
    "circle of needs": (
        [("  draft:\n", "  draft:\n    needs: [check]\n")],
        "sums.yaml:13: stages.draft.needs: these needs run in a circle: `draft` needs `check` needs `draft`.\n"
        "Remove one of these needs.",
    ),
    "need of itself": (
        [("[draft]", "[draft, check]")],
        "sums.yaml:17: stages.check.needs.1: a stage cannot need itself.",
    ),
    "unknown need": (
        [("needs: [draft]", "needs: [draft, drafft]")],
        "sums.yaml:17: stages.check.needs.1: there is no stage `drafft`.\nDid you mean `draft`?",
    ),
    "missing gold column": (
        [("  gold: answer\nbudget", "  gold: anwser\nbudget")],
        "sums.yaml:27: score.gold: the data has no field `anwser`.\nDid you mean `answer`?",
    ),
    "missing template column": (
        [("Question: {{ problem.question }}", "Question: {{ problem.qestion }}")],
        "sums.yaml:20: stages.check.prompt.user: `problem.qestion`: the data has no field `qestion`.\n"
        "Did you mean `question`?",
    ),
    "empty split": (
        [("{split: final}", "{split: last}")],
        "sums.yaml:5: splits.test.where: the split is empty: no row has these values.\nValues of `split`: dev, final.",
    ),
    "unknown where field": (
        [("{split: final}", "{spilt: final}")],
        "sums.yaml:5: splits.test.where.spilt: the data has no field `spilt`.\nDid you mean `split`?",
    ),
    "too few rows": (
        [("search: {", "search: {n: 7, ")],
        "sums.yaml:4: splits.search.n: 7 problems wanted, 6 left.",
    ),
    "price missing": (
        [("unit: gflops", "unit: usd")],
        "sums.yaml:7: models.small: a budget in usd needs `price` on this card.\nAdd `price: {input_per_million_usd: "
        "<number>, output_per_million_usd: <number>}` (your provider's figures), or give the budget in another unit, e.g. --budget 20000tokens.",
    ),
    "parameters missing": (
        [("    parameters: 1e9\n", "")],
        "sums.yaml:7: models.small: a budget in gflops needs `parameters` on this card.\n"
        "Add `parameters: <number>` (the model's size), or give the budget in another unit, e.g. --budget 0.01usd.",
    ),
    "unknown variable": (
        [('"{{ problem.question }}"', '"{{ question }}"')],
        "sums.yaml:13: stages.draft.prompt.user: unknown variable `question`.\nDid you mean `problem.question`?",
    ),
    "stage that is not needed": (
        [("needs: [draft]\n", "needs: []\n")],
        "sums.yaml:21: stages.check.prompt.user: `stages.draft`: this stage does not need `draft`.\n"
        "Add `draft` to the `needs` of this stage.",
    ),
    "unknown stage in a template": (
        [("stages.draft.answer", "stages.drft.answer")],
        "sums.yaml:21: stages.check.prompt.user: `stages.drft`: there is no stage `drft`.\nDid you mean `draft`?",
    ),
    "unknown part of a stage": (
        [("stages.draft.answer", "stages.draft.anser")],
        "sums.yaml:21: stages.check.prompt.user: `stages.draft`: expected one of `.answer`, `.text`, `.answers` after "
        "it.\nDid you mean `answer`?",
    ),
    "bad template": (
        [("Draft: {{ stages.draft.answer }}", "Draft: {% if %}")],
        "sums.yaml:21: stages.check.prompt.user: not a valid template: Expected an expression, got 'end of statement "
        "block'",
    ),
    "unknown filter": (
        [("stages.draft.answer", "stages.draft.answer | uper")],
        "sums.yaml:21: stages.check.prompt.user: not a valid template: No filter named 'uper'.\nDid you mean `upper`?",
    ),
    "template that loads another": (
        [("Draft: {{ stages.draft.answer }}", "{% include 'x' %}")],
        "sums.yaml:21: stages.check.prompt.user: a prompt cannot load other templates.\nWrite the text into this one.",
    ),
    "wrong type": (
        [("n_samples: [1, 4]", "n_samples: many")],
        "sums.yaml:15: stages.draft.n_samples: expected a whole number of at least 1, a list of them, or a range such "
        "as {min: 1, max: 32}, got 'many'.",
    ),
    "wrong number in a list": (
        [("n_samples: [1, 4]", "n_samples: [1, 0]")],
        "sums.yaml:15: stages.draft.n_samples.1: expected a whole number of at least 1, got 0.",
    ),
    "wrong number in a range": (
        [("n_samples: [1, 4]", "n_samples: {max: four}")],
        "sums.yaml:15: stages.draft.n_samples.max: expected a whole number of at least 1, got 'four'.",
    ),
    "wrong word": (
        [("parse: last_number", "parse: lastnumber")],
        "sums.yaml:23: stages.check.parse: expected one of text, regex, regex_all, json, last_number, numbers, "
        "short_answer, choice, boxed, lines, code_block, files, function, got 'lastnumber'.\nDid you mean `last_number`?",
    ),
    "wrong unit": (
        [("unit: gflops", "unit: gflop")],
        "sums.yaml:28: budget.unit: expected one of gflops, usd, tokens, seconds, paper, got 'gflop'.\n"
        "Did you mean `gflops`?",
    ),
    "missing key": ([("name: sums\n", "")], "sums.yaml:1: name: missing; expected text of letters"),
    "block rule": (
        [("score: {verifier: numeric, gold: answer}", "score: {verifier: numeric}")],
        "sums.yaml:24: stages.check.score: verifier numeric needs `gold`.",
    ),
    "two ways to select of one name": (
        [("n_samples: [1, 4]", "select: [majority, majority]")],
        "sums.yaml:15: stages.draft.select.1: two ways to select are called `majority`.\n"
        "Give one of them another `label`.",
    ),
    "unknown scored stage": (
        [("score:\n  verifier: numeric", "score:\n  stage: chek\n  verifier: numeric")],
        "sums.yaml:26: score.stage: there is no stage `chek`.\nDid you mean `check`?",
    ),
    "bad pattern": (
        [("parse: last_number", "parse: {rule: regex, pattern: '(a'}")],
        "sums.yaml:23: stages.check.parse.pattern: not a regular expression: missing ) at position 2.\n"
        "In YAML, put patterns in single quotes, so that a backslash stays one.",
    ),
    "no data file": (
        [("rows.jsonl", "row.jsonl")],
        "sums.yaml:2: data.path: no such file: row.jsonl.\nDid you mean `rows.jsonl`?",
    ),
    "no prompt file": (
        [('{user: "{{ problem.question }}"}', "{user_file: sum.yaml}")],
        "sums.yaml:13: stages.draft.prompt.user_file: no such file: sum.yaml.\nDid you mean `sums.yaml`?",
    ),
    "no function file": (
        [("parse: last_number", "parse: {rule: function, function: 'row.py:f'}")],
        "sums.yaml:23: stages.check.parse.function: no such file: row.py.\nFiles in .: rows.jsonl, sums.yaml.",
    ),
    "badly named function": (
        [("parse: last_number", "parse: {rule: function, function: f}")],
        "sums.yaml:23: stages.check.parse.function: expected `file.py:name` (beside the task file) or `module:name`, "
        "got 'f'.",
    ),
    "unknown id field": (
        [("id: id", "id: ids")],
        "sums.yaml:2: data.id: the data has no field `ids`.\nDid you mean `id`?",
    ),
    "not YAML": (
        [("name: sums", "name: sums: x")],
        "sums.yaml:1: not valid YAML: mapping values are not allowed here\n"
        "Put text that holds a colon in quotes, and check the indentation.",
    ),
    "tab": (
        [("  draft:\n", "\tdraft:\n")],
        "sums.yaml:12: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "key that stands twice": (
        [("budget:", "name: other\nbudget:")],
        "sums.yaml:28: name: this key stands twice in its block, first on line 1.\nRemove or rename one of them.",
    ),
    "key in the file": (
        [("    parameters: 1e9\n", "    parameters: 1e9\n    api_key: sk-1234\n")],
        "sums.yaml:11: models.small.api_key: unknown key.\n"
        "Keys never stand in files: name the environment variable that holds it in `api_key_env`.",
    ),
    "address without scheme": (
        [("http://localhost:9/v1", "localhost:9/v1")],
        "sums.yaml:9: models.small.base_url: expected an address that begins with http:// or https://.\n"
        "For example http://localhost:8000/v1.",
    ),
    "newer format": (
        [("name: sums", "format: 2\nname: sums")],
        "sums.yaml:1: format: written in format 2; this version reads 1.\nUpgrade agenttts.",
    ),
    "code in YAML": (
        [("name: sums", "name: !!python/name:os.system")],
        "sums.yaml:1: not valid YAML: could not determine a constructor for the tag",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_mistake_is_told_with_its_place_and_remedy(project: Write, case: str) -> None:
    changes, expected = BROKEN[case]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*changes))
    assert expected in str(caught.value)
    assert len(caught.value.mistakes) == 1, str(caught.value)


def test_duplicate_ids_are_told_at_their_lines(project: Write) -> None:
    rows = [{"id": name, "question": "?", "answer": 1, "split": "dev"} for name in ("a", "b", "a")]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(rows=[*rows, {"id": "c", "question": "?", "answer": 1, "split": "final"}]))
    assert str(caught.value) == "rows.jsonl:3: id: duplicate id 'a', first in line 1."


def test_rows_without_gold_are_counted(project: Write) -> None:
    rows: list[dict[str, object]] = [
        {"id": f"{split}{i}", "question": "?", "split": split, **({"answer": i} if i else {})}
        for split in ("dev", "final")
        for i in range(3)
    ]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(rows=rows))
    assert (
        "sums.yaml:27: score.gold: 1 of 3 search and 1 of 3 test problems have no `answer`, e.g. problem 'dev0'."
        in str(caught.value)
    )


def test_all_mistakes_are_told_at_once(project: Write) -> None:
    path = project(
        ("n_samples: [1, 4]", "n_sample: [0]"),
        ("needs: [draft]", "needs: [drafft]"),
        ("{{ problem.question }}\n", "{{ problem.qestion }}\n"),
        ("parse: last_number", "parse: lastnumber"),
        ("unit: gflops", "unit: euro"),
        ("{split: final}", "{split: last}"),
        ("  gold: answer\nbudget", "  gol: answer\nbudget"),
    )
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    places = [(mistake.line, mistake.key) for mistake in caught.value.mistakes]
    assert places == [
        (5, "splits.test.where"),
        (15, "stages.draft.n_sample"),
        (15, "stages.draft.n_sample.0"),
        (17, "stages.check.needs.0"),
        (20, "stages.check.prompt.user"),
        (21, "stages.check.prompt.user"),
        (23, "stages.check.parse"),
        (27, "score.gol"),
        (28, "budget.unit"),
    ]


GOLD = ("  gold: answer\nbudget", "  gold: anwser\nbudget")


@pytest.mark.parametrize(
    ("changes", "twice", "fault"),
    [
        ([], True, "duplicate id 'p00'"),
        ([("{split: final}", "{split: last}")], False, "splits.test.where: the split is empty"),
        ([("search: {", "search: {n: 50, ")], False, "50 problems wanted, 6 left"),
        ([("search: {", "search: {n: many, ")], False, "splits.search.n:"),
        ([("search: {", "search: {n: many, ")], True, "duplicate id 'p00'"),
        ([("test: {", "test: {n: -1, ")], False, "splits.test.n:"),
    ],
)
def test_other_faults_of_the_data_do_not_hide_a_missing_gold_column(
    project: Write, changes: list[tuple[str, str]], twice: bool, fault: str
) -> None:
    rows = [*ROWS, ROWS[0]] if twice else ROWS
    with pytest.raises(TaskFileError) as raised:
        Task.load(project(GOLD, *changes, rows=rows))
    messages = [str(mistake) for mistake in raised.value.mistakes]
    assert any(fault in message for message in messages)
    assert [m.splitlines()[0] for m in messages if "gold" in m] == [
        "sums.yaml:27: score.gold: the data has no field `anwser`."
    ]


def test_a_split_whose_size_is_wrong_is_not_called_empty(project: Write) -> None:
    everything = ("search: {where: {split: dev}}", "search: {n: some}")
    with pytest.raises(TaskFileError) as raised:
        Task.load(project(everything))
    assert [mistake.key for mistake in raised.value.mistakes] == ["splits.search.n"]


def test_misspelt_key_does_not_hide_the_rules_of_its_block(project: Write) -> None:
    path = project(("score:\n  verifier: numeric\n  gold: answer", "score:\n  verifyer: numeric"))
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    assert [(mistake.key, mistake.message) for mistake in caught.value.mistakes] == [
        ("score", "verifier numeric needs `gold`."),
        ("score.verifyer", "unknown key."),
    ]


def test_mistake_in_a_prompt_file_is_told_in_that_file(project: Write, tmp_path: Path) -> None:
    (tmp_path / "ask.j2").write_text("Think.\n\n{{ problem.qestion }}\n")
    path = project(('{user: "{{ problem.question }}"}', "{user_file: ask.j2}"))
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    assert str(caught.value).startswith("ask.j2:3: `problem.qestion`: the data has no field `qestion`.")


def test_unit_of_the_command_line_decides_what_cards_need(project: Write) -> None:
    path = project()
    with pytest.raises(TaskFileError, match="a budget in usd needs `price`"):
        Task.load(path, unit=Unit.USD)
    Task.load(path, unit=Unit.TOKENS)


def test_price_of_a_litellm_card_comes_from_the_price_map(project: Write) -> None:
    usd = ("unit: gflops", "unit: usd")
    Task.load(project(usd, ("source: openai", "source: litellm\n    model_id: gpt-4o-mini")))
    path = project(usd, ("source: openai", "source: litellm\n    model_id: no-such-model"))
    with pytest.raises(TaskFileError, match="The price map of litellm has none for 'no-such-model'"):
        Task.load(path)


def test_card_of_another_file_is_blamed_in_that_file(project: Write, tmp_path: Path) -> None:
    cards = tmp_path / "budgets" / "models"
    cards.mkdir(parents=True)
    (cards / "mine.yaml").write_text("format: 1\nmodels:\n  mine:\n    source: openai\n")
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(("models: [small]", "models: [mine]")))
    mistake = caught.value.mistakes[0]
    assert (mistake.file, mistake.line, mistake.key) == ("budgets/models/mine.yaml", 3, "models.mine")


def test_secret_in_place_of_a_variable_is_not_quoted(project: Write) -> None:
    path = project(("    parameters: 1e9\n", "    parameters: 1e9\n    api_key_env: sk-very-secret\n"))
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    assert "expected the name of an environment variable" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("select: {kind: adaptive_vote, confidence: []}", "confidence: expected a list (each entry a number"),
        ("select: {kind: cascade, to: []}", "to: expected a list (each entry text)"),
        ("select: {kind: best_of_n, verifier: {kind: tiny_prm, samples: []}}", "samples: expected a list"),
        ("n_samples: []", "n_samples: expected a whole number of at least 1"),
    ],
)
def test_a_list_without_entries_is_called_empty(project: Write, setting: str, expected: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(("n_samples: [1, 4]", setting)))
    told = str(caught.value)
    assert expected in told
    assert "got an empty list." in told
    assert "got a list" not in told


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "sums.yaml: the file is empty"),
        (b"# only a comment\n", "sums.yaml: the file is empty"),
        (b"- a\n- b\n", "sums.yaml:1: expected keys with values at the top, got a list"),
        (b"hello\n", "sums.yaml:1: expected keys with values at the top, got a single value"),
        (b"name: x\n\0\0", "sums.yaml:2: not a text file in UTF-8 (byte 0x00 at position 8)"),
        (b"name: x\nb: \xff\xfe", "sums.yaml:2: not a text file in UTF-8 (byte 0xff at position 11)"),
        (b"name: &a [*a]\n", "sums.yaml:1: an alias (`*name`) refers to the block that it stands in"),
        (b"name: " + b"[" * 5000, "sums.yaml"),
        (b"a: x\n---\nb: y\n", "sums.yaml:2: not valid YAML: but found another document"),
        (b"name: 'x\n\n", "sums.yaml:3: not valid YAML: found unexpected end of stream"),
        (b"\nname: \x07\n", "sums.yaml:2: not valid YAML: character"),
        (b"? [a]\n: b\n", "sums.yaml:1: not valid YAML: found unhashable key"),
    ],
)
def test_file_that_is_no_task_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.yaml").write_bytes(content)
    with pytest.raises(TaskFileError) as caught:
        Task.load("sums.yaml")
    assert expected in str(caught.value)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(TaskFileError, match="more than 100,000 entries"):
        Task.load(tmp_path / "bomb.yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sms.yaml", "sms.yaml: no such file.\nDid you mean `sums.yaml`?"),
        ("tinny", "tinny: no such task.\nDid you mean `tiny`?"),
        ("nowhere/task.yaml", "There is no folder nowhere either."),
    ],
)
def test_task_that_is_not_there_is_told_with_the_nearest_name(
    project: Write, name: str, expected: str
) -> None:
    project()
    with pytest.raises(TaskFileError) as caught:
        Task.load(name)
    assert expected in str(caught.value)
