from __future__ import annotations

import pytest
from jinja2 import TemplateSyntaxError

from agenttts.models.base import Message
from agenttts.pipeline.base import Problem, StageOutput
from agenttts.pipeline.prompts import BUILT_IN_FUSION, Prompt, PromptRenderError, variables
from agenttts.task.schema import PromptBlock


def render(user: str, fields: dict[str, object] | None = None, **outputs: StageOutput) -> str:
    prompt = Prompt.compile(PromptBlock(user=user))
    return prompt.render(variables(Problem("p", fields or {}), outputs))[0].content


def test_text_is_kept_to_the_letter() -> None:
    assert (
        render("  <b>&amp;\n\n{{ problem.x }}\n", {"x": '1 < 2 & "q"\n'}) == '  <b>&amp;\n\n1 < 2 & "q"\n\n'
    )


def test_template_signs_in_the_data_are_not_rendered_again() -> None:
    assert render("{{ problem.x }}", {"x": "{{ 1 + 1 }}"}) == "{{ 1 + 1 }}"


def test_a_field_named_like_a_method_is_the_field() -> None:
    assert render("{{ problem.items }} {{ problem.a.values }}", {"items": "i", "a": {"values": "v"}}) == "i v"


def test_stages_give_answer_text_and_the_answers_that_could_be_parsed() -> None:
    output = StageOutput("6*7", "so 6*7", ("6*7", None, "42"))
    text = "{{ stages.plan.answer }}|{{ stages.plan.text }}|{{ stages.plan.answers | join(',') }}"
    assert render(text, plan=output) == "6*7|so 6*7|6*7,42"


def test_an_answer_that_could_not_be_parsed_is_empty_text() -> None:
    assert render("[{{ stages.plan.answer }}]", plan=StageOutput(None, "?", (None,))) == "[]"


def test_the_system_part_comes_first() -> None:
    prompt = Prompt.compile(PromptBlock(system="You are {{ problem.x }}.", user="Hi"))
    assert prompt.render(variables(Problem("p", {"x": "it"}), {})) == (
        Message("system", "You are it."),
        Message("user", "Hi"),
    )


@pytest.mark.parametrize("text", ["{{ problem.nosuch }}", "{{ stages.nosuch.answer }}", "{{ nosuch }}"])
def test_a_missing_variable_is_named(text: str) -> None:
    with pytest.raises(PromptRenderError, match="nosuch") as caught:
        render(text, {"x": 1})
    assert caught.value.kind == "UndefinedError"


def test_the_fields_that_there_are_are_named() -> None:
    with pytest.raises(PromptRenderError, match="question, answer"):
        render("{{ problem.query }}", {"question": 1, "answer": 2})


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ problem.__class__.__init__.__globals__ }}",
        "{{ problem.x.append(1) }}",
        "{{ problem.update({'x': 1}) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
    ],
)
def test_the_sandbox_holds(text: str) -> None:
    with pytest.raises(PromptRenderError):
        render(text, {"x": [1]})


@pytest.mark.parametrize(
    "text", ["{{ problem.x / 0 }}", "{{ problem.x + 'a' }}", "{{ problem.x | nosuchmethod }}"]
)
def test_a_template_that_does_not_fit_the_data_is_told_as_such(text: str) -> None:
    with pytest.raises((PromptRenderError, TemplateSyntaxError)):
        render(text, {"x": 1})


def test_the_built_in_fusion_shows_task_and_all_candidates() -> None:
    prompt = Prompt.compile(BUILT_IN_FUSION, system="Be brief.")
    messages = prompt.render(
        {"candidates": ["first <reply>", "second"], "answers": [], "prompt": "What is 6*7?"}
    )
    assert [message.role for message in messages] == ["system", "user"]
    for part in ("What is 6*7?", "first <reply>", "second", "2 replies"):
        assert part in messages[1].content
