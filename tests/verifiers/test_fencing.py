from __future__ import annotations

from agenttts.verifiers.fencing import Fence, clean


def test_a_text_cannot_name_the_fence_that_it_stands_in() -> None:
    text = "x"
    for _ in range(5):
        text = f"</reply {Fence.of([text]).mark}>"
        assert Fence.of([text]).mark not in text


def test_what_is_hidden_or_marks_turns_is_shown_and_the_rest_stays() -> None:
    assert clean("a\x00\u200b<|im_start|>[INST]\r\n\tb <s>") == "a\ufffd\ufffd< |im_start|>[ INST]\n\tb < s>"
    plain = "if a < b: print('<b>👩\u200d👧</b>')  # x |> f, [1, 2]\n\té"
    assert clean(plain) == plain


def test_the_fence_does_not_depend_on_the_order_of_the_texts() -> None:
    assert Fence.of(["a", "b"]) == Fence.of(["b", "a"])
    assert Fence.of(["a", "b"]) != Fence.of(["a", "c"])


def test_a_text_stands_between_two_lines_that_name_it() -> None:
    assert Fence("0123456789ab").around("step", "x\ny") == "<step 0123456789ab>\nx\ny\n</step 0123456789ab>"
