from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import DataError, InputError, TaskFileError, TrustError
from agenttts.task.schema import PromptBlock
from agenttts.task.task import Task

Write = Callable[..., Path]


def _rows(poison: str = "final") -> list[dict[str, object]]:
    return [
        {"id": f"{split}{i}", "question": f"{text} {i}?", "answer": i, "split": split}
        for split, text in (("dev", "open"), ("final", poison))
        for i in range(4)
    ]


def test_task_is_loaded_with_cards_and_search_problems(project: Write) -> None:
    task = Task.load(project())
    assert (task.file.name, task.llm_stages, task.scored_stage) == ("sums", ("draft", "check"), "check")
    assert {problem.fields["split"] for problem in task.search} == {"dev"}
    assert len(task.search) == len(task.test()) == 6
    assert list(task.cards) == ["small"]
    assert task.cards["small"].parameters == 1e9


def test_test_split_is_sealed_until_it_is_asked_for(project: Write) -> None:
    """Nothing of a test problem is in the task, in what is stored of it, or in a message before `test()`."""
    poison = "XYZZY-POISON"
    path = project(rows=_rows(poison))
    task = Task.load(path)
    held = [repr(task), json.dumps(task.to_json()), *(repr(value) for value in vars(task).values())]
    assert not [text for text in held if poison in text]
    assert not {problem.id for problem in task.search} & {f"final{i}" for i in range(4)}
    stored = Task.from_json(task.to_json())
    assert len(stored.search) == 4
    assert not [value for value in vars(stored).values() if poison in repr(value)]
    assert all(poison in problem.fields["question"] for problem in task.test())


def test_messages_tell_nothing_of_test_problems(project: Write) -> None:
    poison = "XYZZY-POISON"
    rows = [
        row if row["split"] == "dev" else {k: v for k, v in row.items() if k != "answer"}
        for row in _rows(poison)
    ]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(rows=rows))
    assert "4 of 4 test problems have no `answer`" in str(caught.value)
    assert poison not in str(caught.value)
    assert "final0" not in str(caught.value)


def test_stored_task_is_the_task(project: Write) -> None:
    task = Task.load(project(), n_search=3)
    stored = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert stored.digest == task.digest
    assert stored.search == task.search
    assert len(stored.search) == 3
    assert stored.test() == task.test()
    assert (stored.file, stored.cards, stored.folder) == (task.file, task.cards, task.folder)


def test_stored_task_writes_defaults_out(project: Write) -> None:
    data = Task.load(project()).to_json()
    assert data["file"]["stages"]["draft"]["sampling"]["temperature"] == 0.8
    assert "models" not in data["file"]


def test_stored_task_is_of_use_without_its_data(project: Write, tmp_path: Path) -> None:
    task = Task.load(project())
    (tmp_path / "rows.jsonl").unlink()
    stored = Task.from_json(task.to_json())
    assert (stored.digest, stored.llm_stages) == (task.digest, task.llm_stages)
    with pytest.raises(DataError, match="no such file"):
        _ = stored.search
    with pytest.raises(DataError, match="no such file"):
        stored.test()


def test_data_of_a_stored_task_are_found_beside_it_in_its_catalogue_or_where_they_are_said_to_be(
    project: Write, tmp_path: Path
) -> None:
    task = Task.load(project())
    for place in ("beside", "given", "tasks/sums"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (tmp_path / "rows.jsonl").rename(folder / "rows.jsonl")
        (folder / "task.yaml").write_bytes((tmp_path / "sums.yaml").read_bytes())
        stored = Task.from_json(task.to_json(), beside=tmp_path / "beside")
        stored = stored.with_data(folder) if place == "given" else stored
        assert len(stored.test()) == 6
        assert stored.search == task.search
        (folder / "rows.jsonl").rename(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").rename(tmp_path / "beside" / "rows.jsonl")
    (tmp_path / "beside" / "rows.jsonl").write_text("{}\n")
    stored = Task.from_json(task.to_json(), beside=tmp_path / "beside")
    with pytest.raises(
        DataError, match=r"no such file(.|\n)*beside/rows.jsonl: has changed(.|\n)*--data FOLDER"
    ):
        stored.test()


def test_data_that_have_changed_are_refused(project: Write) -> None:
    task = Task.load(project())
    project(rows=_rows())
    with pytest.raises(DataError, match="has changed since this task was loaded"):
        task.test()
    with pytest.raises(DataError, match="has changed"):
        _ = Task.from_json(task.to_json()).search


def test_stored_task_of_a_newer_version_is_refused(project: Write) -> None:
    data = Task.load(project()).to_json()
    with pytest.raises(InputError, match="Upgrade agenttts"):
        Task.from_json({**data, "format": 2})
    with pytest.raises(InputError, match="cannot be read"):
        Task.from_json({"format": 1, "file": {}})


@pytest.mark.parametrize(
    "change",
    [
        ("n_samples: [1, 4]", "n_samples: [1, 8]"),
        ("Draft:", "Attempt:"),
        ("parameters: 1e9", "parameters: 2e9"),
        ("http://localhost:9/v1", "http://localhost:8/v1"),
        ("search: {", "search: {n: 5, "),
    ],
)
def test_digest_changes_with_what_changes_results(project: Write, change: tuple[str, str]) -> None:
    before = Task.load(project()).digest
    assert Task.load(project(change)).digest != before


@pytest.mark.parametrize(
    "change",
    [
        ("default: 10", "default: 20"),
        (
            "parameters: 1e9",
            "parameters: 1e9\n    price: {input_per_million_usd: 1, output_per_million_usd: 2}",
        ),
        ("parameters: 1e9", "parameters: 1e9\n    max_concurrency: 2"),
        ("name: sums", "# a remark\nname: sums\ndescription: Sums."),
    ],
)
def test_digest_stays_where_results_do(project: Write, change: tuple[str, str]) -> None:
    before = Task.load(project()).digest
    assert Task.load(project(change)).digest == before


def test_digest_does_not_depend_on_the_folder(project: Write, tmp_path: Path) -> None:
    path = project()
    before = Task.load(path).digest
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("sums.yaml", "rows.jsonl"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    assert Task.load(other / "sums.yaml").digest == before


def test_prompt_files_are_inlined(project: Write, tmp_path: Path) -> None:
    (tmp_path / "ask.j2").write_text("Say: {{ problem.question }}\n")
    (tmp_path / "role.txt").write_text("Be brief.")
    prompt = ('{user: "{{ problem.question }}"}', "{user_file: ask.j2, system_file: role.txt}")
    fusion = ("n_samples: [1, 4]", "select: {kind: fusion, prompt: {user_file: fuse.j2}}")
    (tmp_path / "fuse.j2").write_text(
        "{% for c in candidates %}{{ loop.index }} {{ c }}{% endfor %} {{ prompt }}"
    )
    stage = Task.load(project(prompt, fusion)).file.stages["draft"]
    assert stage.prompt == PromptBlock(system="Be brief.", user="Say: {{ problem.question }}\n")
    assert stage.select[0].prompt is not None
    assert (stage.select[0].prompt.user or "").startswith("{% for c")


def test_every_model_can_come_from_one_endpoint(project: Write) -> None:
    judge = ("n_samples: [1, 4]", "select: {kind: best_of_n, verifier: tiny_prm}")
    task = Task.load(project(judge), endpoint="http://127.0.0.1:8000/v1/")
    small, judged_by = task.cards["small"], task.cards["tiny/prm"]
    assert (small.source, small.base_url, small.served_as) == ("openai", "http://127.0.0.1:8000/v1", "small")
    assert judged_by.source == "tiny"
    assert Task.load(project(), source="litellm").cards["small"].source == "litellm"


@pytest.mark.parametrize(
    "options",
    [{"endpoint": "localhost:8000"}, {"source": "opnai"}, {"n_search": 0}, {"endpoint": "http://u:p@h/v1"}],
)
def test_unusable_options_are_refused(project: Write, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected|must not"):
        Task.load(project(), **options)


FUNCTION = ("parse: last_number", "parse: {rule: function, function: 'mine.py:double'}")


def test_code_of_the_task_runs_only_when_trusted(project: Write, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "mine.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n\ndef double(text):\n    return 2 * text\n"
    )
    task = Task.load(project(FUNCTION))
    with pytest.raises(TrustError, match="--trust"):
        task.function("mine.py:double")
    assert not marker.exists()
    assert Task.load(project(FUNCTION), trust=True).function("mine.py:double")("ab") == "abab"
    assert marker.exists()


def test_function_that_is_not_defined_is_told_without_running_the_file(
    project: Write, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit\n\ndef duoble(text):\n    return text\n")
    with pytest.raises(TaskFileError, match=r"mine.py defines no `double`.\nDid you mean `duoble`\?"):
        Task.load(project(FUNCTION))


def test_function_whose_file_fails_is_an_input_error(project: Write, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def double(text):\n    return text\n\n1 / 0\n")
    with pytest.raises(InputError, match=r"mine.py:double: cannot be imported: ZeroDivisionError"):
        Task.load(project(FUNCTION), trust=True).function("mine.py:double")


def test_function_stage_is_stored_and_read_again(project: Write, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def double(fields, answers):\n    return 1\n")
    stage = ("score:\n", "  double: {needs: [check], function: 'mine.py:double'}\nscore:\n  stage: double\n")
    text = project().read_text()
    head, _, tail = text.rpartition("score:\n")
    task = Task.load(project(text=head + stage[1] + tail))
    assert (task.llm_stages, task.scored_stage) == (("draft", "check"), "double")
    assert Task.from_json(task.to_json()).file == task.file


def test_recorded_table_counts_from_the_folder_of_its_card(project: Write, tmp_path: Path) -> None:
    source = ("source: openai\n    base_url: http://localhost:9/v1", "source: recorded\n    table: draws.csv")
    task = Task.load(project(source))
    assert task.cards["small"].table == str(tmp_path / "draws.csv")
    before = task.digest
    (tmp_path / "draws.csv").write_text("x")
    assert Task.load(project(source)).digest != before


def test_loading_is_light(project: Write) -> None:
    """Heavy libraries load only where a task needs them."""
    import subprocess
    import sys

    path = project()
    heavy = ["litellm", "datasets", "pandas", "pyarrow", "optuna", "openai", "aiohttp", "sqlalchemy", "scipy"]
    code = (
        f"import sys; from agenttts.task.task import Task; Task.load({str(path)!r});"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root)},
    )
    assert done.stdout.strip() == "[]"


def test_digest_changes_with_the_weights_of_tiny_models(
    project: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agenttts.models.tiny import identity

    path = project(("models: [small]", "models: [tiny/xs]"))
    before = Task.load(path).digest
    assert Task.load(path).digest == before
    monkeypatch.setattr(identity, "weights_digest", lambda name: "0123456789ab")
    assert Task.load(path).digest != before
