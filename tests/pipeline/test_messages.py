"""From a chat to the fields of a problem."""

import pytest

from agenttts.errors import InputError
from agenttts.models.base import Message
from agenttts.pipeline.messages import fields_from_messages, fields_read, parse_mapping
from agenttts.task.task import Task

CHAT = [
    Message("system", "Be brief."),
    Message("user", "first"),
    Message("assistant", "yes?"),
    Message("user", '{"question": "6 * 7?", "context": ["a", "b"]}'),
]


def test_a_plan_that_reads_one_field_gets_the_last_message_as_it_stands():
    assert fields_from_messages(CHAT, ["text"]) == {"text": CHAT[-1].content}


def test_a_plan_that_reads_several_fields_gets_them_from_a_json_object():
    assert fields_from_messages(CHAT, ["question", "context"]) == {
        "question": "6 * 7?",
        "context": ["a", "b"],
    }


def test_each_field_comes_from_the_source_that_the_mapping_names():
    mapping = {"a": "system", "b": "first_user", "c": "json.question", "d": "conversation"}
    fields = fields_from_messages(CHAT, ["a", "b", "c", "d"], mapping)
    assert fields["a"] == "Be brief."
    assert fields["b"] == "first"
    assert fields["c"] == "6 * 7?"
    assert fields["d"].startswith("system: Be brief.\n\nuser: first\n\nassistant: yes?")


def test_fields_that_the_mapping_does_not_name_come_from_the_json_object():
    fields = fields_from_messages(CHAT, ["rules", "question"], {"rules": "system"})
    assert (fields["rules"], fields["question"]) == ("Be brief.", "6 * 7?")


@pytest.mark.parametrize(
    ("chat", "reads", "said"),
    [
        ([Message("system", "x")], ["text"], "no message of the role user"),
        ([Message("user", "plain")], ["question", "context"], '{"question": "...", "context": "..."}'),
        ([Message("user", "[1, 2]")], ["question", "context"], "JSON object"),
        ([Message("user", '{"question": 1}')], ["question", "context"], "lacks `context`"),
        ([Message("user", "[" * 100_000)], ["question", "context"], "JSON object"),
    ],
)
def test_a_chat_that_lacks_something_is_told_what_to_send(chat, reads, said):
    with pytest.raises(InputError) as caught:
        fields_from_messages(chat, reads)
    assert said in str(caught.value)


def test_a_mapping_is_read_from_an_option():
    assert parse_mapping("question=user") == {"question": "user"}
    assert parse_mapping("question:user; context:json.passages") == {
        "question": "user",
        "context": "json.passages",
    }


@pytest.mark.parametrize("text", ["question", "question:usr", "question:json.", ":user"])
def test_a_mapping_of_another_shape_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="question:user;context:system"):
        parse_mapping(text)


def test_the_fields_that_the_tiny_task_reads_are_those_of_its_prompts_without_gold():
    assert fields_read(Task.load("tiny").file) == ["text"]


def test_tests_that_a_verifier_selects_by_are_read_too(tmp_path):
    row = '{"q": "%s", "suite": "assert 1", "hidden": "y"}\n'
    (tmp_path / "rows.jsonl").write_text(row % "a" + row % "b")
    (tmp_path / "task.yaml").write_text(
        "name: t\ndata: {path: rows.jsonl}\nsplits: {search: {n: 1}, test: {n: 1}}\n"
        "stages:\n  code:\n    prompt: {user: 'Write {{ problem.q }}'}\n    models: [tiny/s]\n"
        "    n_samples: [2]\n    select: [{kind: best_of_n, verifier: {kind: code, tests: suite}}]\n"
        "score: {verifier: {kind: code, tests: hidden}}\nbudget: {unit: gflops, default: 1}\n"
    )
    assert fields_read(Task.load(tmp_path).file) == ["q", "suite"]
