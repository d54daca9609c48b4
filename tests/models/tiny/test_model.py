"""Generation: a draw depends on itself alone, and what is reported about it is true."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agenttts.models.tiny import (
    GENERATORS,
    GenerationRequest,
    TinyContextError,
    TinyModel,
    UnknownTinyModelError,
)
from agenttts.models.tiny.network import LONGEST
from agenttts.models.tiny.problems import problems
from agenttts.models.tiny.sampling import choose, log_probabilities, stream_key, uniform
from agenttts.models.tiny.tokenizer import encode, encode_prompt, vocabulary

PROMPTS = [f"solve: {problem.plan}" for problem in itertools.islice(problems("a test"), 6)]


def request(prompt: str = PROMPTS[0], **changes: Any) -> GenerationRequest:
    return replace(GenerationRequest(prompt, seeds=(1,), max_tokens=48, temperature=0.8), **changes)


@pytest.fixture(scope="module")
def xs() -> TinyModel:
    return TinyModel.load("tiny/xs")


def test_draw_does_not_depend_on_the_batch(xs: TinyModel) -> None:
    alone = [[xs.generate([request(p, seeds=(s,), top_logprobs=2)])[0][0] for s in range(5)] for p in PROMPTS]
    together = xs.generate([request(p, seeds=tuple(range(5)), top_logprobs=2) for p in PROMPTS])
    backwards = xs.generate([request(p, seeds=(4, 3, 2, 1, 0), top_logprobs=2) for p in PROMPTS])
    for one, many, reverse in zip(alone, together, backwards, strict=True):
        texts = [g.text for g in one]
        assert [g.text for g in many] == texts
        assert [g.text for g in reverse] == texts[::-1]
        for a, b in zip(one, many, strict=True):
            assert np.allclose(a.logprobs, b.logprobs, atol=1e-9)


def test_draws_beyond_one_batch_are_the_same(xs: TinyModel) -> None:
    many = xs.generate([request(seeds=tuple(range(300)))])[0]
    assert [g.text for g in xs.generate([request(seeds=tuple(range(250, 260)))])[0]] == [
        g.text for g in many[250:260]
    ]


def test_same_seed_draws_differently_for_another_prompt() -> None:
    keys = {stream_key("tiny/xs", prompt, 1) for prompt in PROMPTS}
    assert len(keys) == len(PROMPTS)


def test_cached_steps_agree_with_reading_the_whole_at_once(xs: TinyModel) -> None:
    generation = xs.generate([request()])[0][0]
    head, body = encode_prompt(PROMPTS[0]), encode(generation.text)
    tokens = np.array([head + body])
    hidden, _ = xs.network.prefill(tokens, np.array([tokens.shape[1]]))
    log_p = log_probabilities(xs.network.logits(hidden[0, len(head) - 1 : -1]))
    expected = log_p[np.arange(len(body)), body]
    assert np.allclose(generation.logprobs, expected, atol=1e-9)


def test_temperature_zero_takes_the_likeliest_token(xs: TinyModel) -> None:
    generation = xs.generate([request(temperature=0.0, seeds=(7,), top_logprobs=1)])[0][0]
    likeliest = [top[0][0] for top in generation.top_logprobs]
    assert likeliest == list(generation.token_texts)
    assert generation.text == xs.generate([request(temperature=0.0, seeds=(8,))])[0][0].text


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    p = np.array([[0.5, 0.3, 0.15, 0.05]])
    keys = np.array([stream_key("m", "p", seed) for seed in range(20_000)], dtype=np.uint64)
    rows = np.repeat(np.log(p), len(keys), axis=0)
    drawn = choose(rows, np.ones(len(keys)), np.ones(len(keys)), uniform(keys, 3))
    shares = np.bincount(drawn, minlength=4) / len(keys)
    assert np.abs(shares - p[0]).max() < 4 * math.sqrt(0.25 / len(keys))


def test_nucleus_keeps_the_fewest_tokens_that_hold_its_share() -> None:
    p = np.array([[0.15, 0.5, 0.05, 0.3]])
    keys = np.arange(4000, dtype=np.uint64)
    drawn = choose(np.repeat(np.log(p), 4000, axis=0), np.ones(4000), np.full(4000, 0.7), uniform(keys, 0))
    counts = Counter(drawn.tolist())
    assert set(counts) == {1, 3}
    assert abs(counts[1] / 4000 - 0.625) < 0.04


def test_probabilities_of_the_likeliest_tokens_fall_and_stay_below_one(xs: TinyModel) -> None:
    for top in xs.generate([request(top_logprobs=5)])[0][0].top_logprobs:
        values = [value for _, value in top]
        assert values == sorted(values, reverse=True)
        assert 0 < sum(map(math.exp, values)) <= 1 + 1e-9


def test_length_limit_is_kept_and_told(xs: TinyModel) -> None:
    generation = xs.generate([request(max_tokens=3)])[0][0]
    assert generation.finish_reason == "length"
    assert generation.completion_tokens == len(generation.token_texts) == 3


def test_text_ends_before_the_stop_string(xs: TinyModel) -> None:
    whole = xs.generate([request()])[0][0]
    stopped = xs.generate([request(stop=("=",))])[0][0]
    assert stopped.text == whole.text.split("=")[0]
    assert stopped.finish_reason == "stop"


def test_usage_counts_the_prompt_once_and_the_end_token(xs: TinyModel) -> None:
    generation = xs.generate([request()])[0][0]
    assert generation.prompt_tokens == len(encode_prompt(PROMPTS[0]))
    assert generation.finish_reason == "stop"
    assert generation.completion_tokens == len(generation.token_texts) + 1
    assert "".join(generation.token_texts) == generation.text


def test_no_token_may_be_asked_for(xs: TinyModel) -> None:
    empty, whole = (row[0] for row in xs.generate([request(max_tokens=0), request()]))
    assert (empty.text, empty.completion_tokens, empty.finish_reason) == ("", 0, "length")
    assert whole == xs.generate([request()])[0][0]


def test_draw_may_fill_the_context(xs: TinyModel) -> None:
    hot = xs.generate([request(temperature=50.0, max_tokens=10_000, seeds=tuple(range(20)))])[0]
    assert max(g.prompt_tokens + g.completion_tokens for g in hot) == LONGEST


def test_no_seed_no_draw(xs: TinyModel) -> None:
    generations = xs.generate([request(seeds=()), request(seeds=(1,))])
    assert [len(g) for g in generations] == [0, 1]
    assert xs.generate([]) == []


def test_foreign_text_is_continued_not_refused(xs: TinyModel) -> None:
    assert xs.generate([request("\u4f60\u597d, what is the capital of France?")])[0][0].completion_tokens >= 1


def test_too_long_a_prompt_is_refused_with_both_lengths(xs: TinyModel) -> None:
    with pytest.raises(TinyContextError, match=str(LONGEST - 1)):
        xs.generate([request("1" * LONGEST)])


def test_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownTinyModelError, match="tiny/xs"):
        TinyModel.load("tiny/xxl")


@pytest.mark.parametrize("name", GENERATORS)
def test_shipped_model_says_its_size(name: str) -> None:
    model = TinyModel.load(name)
    assert model is TinyModel.load(name)
    assert model.n_layers == len(model.network.blocks)
    assert model.network.embedding.shape == (len(vocabulary()), model.width)


def test_larger_models_answer_more_problems() -> None:
    rows = list(itertools.islice(problems("a test of sizes"), 150))
    requests = [request(f"translate: {row.text}") for row in rows]
    right = []
    for name in (GENERATORS[0], GENERATORS[-1]):
        drawn = TinyModel.load(name).generate(requests)
        right.append(sum(row.plan == g[0].text for row, g in zip(rows, drawn, strict=True)))
    assert right[1] > right[0] + 30
