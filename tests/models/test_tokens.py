from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import CardError
from agenttts.models.base import Message
from agenttts.models.tokens import counter, most_prompt_tokens, split_total


def test_a_quarter_of_the_characters_is_rounded_up() -> None:
    assert [counter("chars/4")("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_the_tiny_counter_counts_tokens_of_the_tiny_family() -> None:
    assert counter("tiny")("24*7") == 4


def test_litellm_counts_with_the_tokenizer_of_the_model() -> None:
    assert 1 <= counter("litellm:gpt-4o")("hello world") <= 3


def test_an_unknown_counter_is_answered_with_the_nearest() -> None:
    with pytest.raises(CardError, match="'chars/4'"):
        counter("char/4")


def test_counts_that_add_up_are_kept() -> None:
    assert split_total(9, [2, 3, 4], [True, True, True]) == (2, 3, 4)
    assert split_total(11, [2, 3, 4], [True, False, True]) == (3, 3, 5)


def test_a_total_that_fits_no_count_is_shared_in_proportion() -> None:
    assert split_total(20, [1, 1, 3], [False, False, False]) == (4, 4, 12)
    assert split_total(4, [0, 0, 0], [False] * 3) == (2, 1, 1)


@given(
    st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 500), st.booleans()), min_size=1, max_size=9)
)
def test_a_split_adds_up(total: int, choices: list[tuple[int, bool]]) -> None:
    counts, stopped = [count for count, _ in choices], [stop for _, stop in choices]
    shares = split_total(total, counts, stopped)
    assert sum(shares) == total
    assert min(shares) >= 0


@pytest.mark.parametrize("text", ["plain words", "日本語のテキスト", "🙂" * 20, "a\ud800b"])
def test_the_bound_on_a_prompt_holds_for_a_real_tokenizer(text: str) -> None:
    readable = text.encode("utf-8", "replace").decode()
    assert most_prompt_tokens([Message("user", text)]) >= counter("litellm:gpt-4o")(readable)


def test_importing_clients_loads_no_sdk() -> None:
    code = (
        "import sys, agenttts.models.clients, agenttts.models.sampler, agenttts.models.litellm_client, "
        "agenttts.models.tiny_server\n"
        "print(sorted({'openai', 'litellm', 'aiohttp', 'numpy', 'httpx', 'tenacity', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
