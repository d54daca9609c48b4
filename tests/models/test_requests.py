"""The identity of draws: what is paid for is found again, also by later versions."""

from __future__ import annotations

from dataclasses import replace

from agenttts.models.base import Message, Request, SamplingParameters

REQUEST = Request("m", "http://x/v1", (Message("user", "hi"),), SamplingParameters(stop=("a",), seed=3))


def test_a_stream_keeps_the_identity_that_it_had_before_likeliest_tokens_could_be_asked_for() -> None:
    assert REQUEST.key == "abc8a03328a2a8adfb04b1b541e5c8d2e2941cb8aad87a94135ab5b006a85831"
    assert REQUEST.base_seed == 1913263523


def test_draws_with_their_likeliest_tokens_are_another_stream() -> None:
    with_tops = replace(REQUEST, sampling=replace(REQUEST.sampling, top_logprobs=5))
    assert with_tops.key != REQUEST.key
