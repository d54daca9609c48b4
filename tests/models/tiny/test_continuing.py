"""Going on from the beginning of a reply: the same law as if the model had written the beginning itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from agenttts.models.tiny import Generation, GenerationRequest, TinyContextError, TinyModel
from agenttts.models.tiny.network import LONGEST
from agenttts.models.tiny.tokenizer import encode, encode_prompt, vocabulary

PROMPT = "solve: 24*7+13-5"
ALL = len(vocabulary())


@pytest.fixture(scope="module", params=["tiny/s", "tiny/m"])
def model(request: pytest.FixtureRequest) -> TinyModel:
    return TinyModel.load(request.param)


def one(model: TinyModel, **changes: Any) -> Generation:
    request = replace(GenerationRequest(PROMPT, (1,), max_tokens=60, temperature=0.0), **changes)
    return model.generate([request])[0][0]


def cuts(whole: Generation) -> list[tuple[int, str]]:
    """Return places in a text with the text before them, where reading that text gives the tokens that were written."""
    texts = whole.token_texts
    places = [(k, "".join(texts[:k])) for k in range(1, len(texts))]
    return [(k, text) for k, text in places if [vocabulary()[t] for t in encode(text)] == list(texts[:k])]


def test_the_rest_has_the_probabilities_that_it_had_in_the_whole(model: TinyModel) -> None:
    whole = one(model)
    found = cuts(whole)
    assert len(found) > 5
    for k, begun in found:
        rest = one(model, prefix=begun)
        assert begun + rest.text == whole.text
        assert rest.token_texts == whole.token_texts[k:]
        assert rest.logprobs == pytest.approx(whole.logprobs[k:], abs=1e-5)
        assert rest.prompt_tokens == len(encode_prompt(PROMPT)) + k
        assert rest.completion_tokens == whole.completion_tokens - k
        assert rest.ended is whole.ended is True


def test_a_space_at_the_end_is_written_with_the_word_after_it(model: TinyModel) -> None:
    whole = one(model, top_logprobs=ALL)
    found = [(k, text) for k, text in cuts(whole) if whole.token_texts[k].startswith(" ")]
    assert found
    for k, begun in found:
        rest = one(model, prefix=f"{begun} ", top_logprobs=ALL)
        assert f"{begun} {rest.text}" == whole.text
        assert rest.prompt_tokens == len(encode_prompt(PROMPT)) + k  # the space is not read
        # Given that a space comes, or the end: the law of the whole, divided by the chance of that.
        may_come = [p for text, p in whole.top_logprobs[k] if text.startswith(" ")]
        end = next(p for number, p in _numbered(whole, k) if number == "end")
        chance = math.log(sum(math.exp(p) for p in [*may_come, end]))
        assert rest.logprobs[0] == pytest.approx(whole.logprobs[k] - chance, abs=1e-4)
        assert rest.logprobs[1:] == pytest.approx(whole.logprobs[k + 1 :], abs=1e-5)


def _numbered(whole: Generation, place: int) -> list[tuple[str, float]]:
    """Return the likeliest token without text, which is the end wherever models are trained."""
    return [("end" if text == "" else text, p) for text, p in whole.top_logprobs[place]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stop_at_the_very_beginning_ends_nothing(model: TinyModel, temperature: float) -> None:
    whole = one(model)
    first = whole.text.split(" ")[0]
    for seed in range(8):
        step = one(model, prefix=f"{first} ", stop=(" ",), seeds=(seed,), temperature=temperature)
        assert " " not in step.text
        assert step.text or step.ended
        unstopped = one(model, prefix=f"{first} ", seeds=(seed,), temperature=temperature)
        assert unstopped.text.split(" ")[0] == step.text


def test_step_by_step_is_the_whole(model: TinyModel) -> None:
    whole, begun, n_steps = one(model), "", 0
    while True:
        step = one(model, prefix=begun, stop=(" ",))
        n_steps += 1
        begun += step.text
        if step.ended:
            break
        begun += " "
    assert begun == whole.text
    assert n_steps == len(whole.text.split(" "))


def test_ended_tells_the_end_from_a_stop_and_from_the_limit(model: TinyModel) -> None:
    whole = one(model)
    stopped, cut = one(model, stop=(" ",)), one(model, max_tokens=2)
    assert (whole.finish_reason, whole.ended) == ("stop", True)
    assert (stopped.finish_reason, stopped.ended) == ("stop", False)
    assert (cut.finish_reason, cut.ended) == ("length", False)


def test_a_finished_beginning_is_ended_at_once_or_gone_on_from_with_a_space(model: TinyModel) -> None:
    whole = one(model)
    rest = one(model, prefix=whole.text)
    assert (rest.text, rest.token_texts, rest.ended) == ("", (), True)
    assert rest.completion_tokens == 1  # the end token
    spaced = one(model, prefix=f"{whole.text} ", stop=(" ",), max_tokens=30)
    assert spaced.ended or spaced.text


def test_draws_of_a_beginning_are_independent_of_those_of_others(model: TinyModel) -> None:
    seeds = tuple(range(40))
    request = GenerationRequest(PROMPT, seeds, 60, 1.5, prefix="24 ", stop=(" ",))
    alone = model.generate([request])[0]
    again, other = model.generate([request, replace(request, prefix="25 ")])
    assert [g.text for g in alone] == [g.text for g in again]
    assert [g.text for g in again] != [g.text for g in other]
    assert len({g.text for g in alone}) > 3


def test_an_empty_beginning_changes_nothing(model: TinyModel) -> None:
    drawn = {"temperature": 1.0, "seeds": (3,)}
    assert one(model, prefix="", **drawn) == one(model, **drawn)


def test_a_beginning_that_leaves_no_room_is_refused(model: TinyModel) -> None:
    with pytest.raises(TinyContextError, match="read at most"):
        one(model, prefix="1" * LONGEST)
