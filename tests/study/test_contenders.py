"""Allocators with switches have one name each, and a folder of their own."""

from __future__ import annotations

import pytest

from agenttts.errors import InputError
from agenttts.study.contenders import contender_name, folder_name, read_contender, split_names


def test_commas_in_brackets_belong_to_a_name() -> None:
    text = "agenttts, agenttts[no_insight1=true,no_insight2=true] ,,random"
    assert split_names(text) == ["agenttts", "agenttts[no_insight1=true,no_insight2=true]", "random"]


def test_a_name_is_read_into_allocator_and_switches() -> None:
    assert read_contender("tpe") == ("tpe", {})
    assert read_contender("a[on=true, n=3, way=fast]") == ("a", {"on": True, "n": 3, "way": "fast"})


def test_a_name_says_the_switches_in_one_order() -> None:
    assert contender_name(*read_contender("a[n=3,b=false]")) == "a[b=false,n=3]"
    assert contender_name(*read_contender("a[]")) == "a"


@pytest.mark.parametrize("text", ["a[b=1", "a]b", "[b=1]", "a[b=1]c", "a[b=[1]]"])
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"e\.g\. agenttts\[no_insight1=true"):
        read_contender(text)


@pytest.mark.parametrize(
    ("text", "message"), [("a[b]", "b: expected NAME=VALUE"), ("a[b=1,b=2]", "b is given twice")]
)
def test_switches_that_cannot_be_read_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_contender(text)


def test_names_that_differ_in_signs_alone_have_folders_of_their_own() -> None:
    names = ["a[b=c d]", "a[b=c_d]", "a[b=c.d]"]
    folders = {folder_name(name) for name in names}
    assert len(folders) == 3
    assert all(set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for folder in folders)
    assert folder_name("tpe") == "tpe"
