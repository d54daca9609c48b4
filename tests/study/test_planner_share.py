"""How much of a search was its planner's, from rounds written by hand and from those that an allocator plans."""

from __future__ import annotations

from agenttts.allocators.conversing import FILLED
from agenttts.study.planner_share import planner_share, together


def event(
    calls: int, reasons: list[str], *, failed: int = 0, refused: int = 0, origin: str = "llm_zs"
) -> dict:
    problems = ["HTTP 404"] * failed + ["not asked: spent"] * refused
    tally = {"calls": calls, "failed": failed, "refused": refused, "problems": problems}
    return {"planner": tally, "proposals": [{"origin": origin, "reason": reason} for reason in reasons]}


def test_what_was_filled_in_is_not_the_planners():
    share = planner_share([event(1, ["small models vote well", FILLED, "try more"])], "llm_zs")
    assert (share.given, share.due, share.nothing_usable) == (2, 3, 0)


def test_a_reply_without_a_usable_proposal_is_told_apart_from_no_reply():
    share = planner_share(
        [event(1, [FILLED, FILLED]), event(1, [FILLED, FILLED], failed=1), event(0, [FILLED], refused=1)],
        "llm_zs",
    )
    assert (share.calls, share.no_reply, share.refused) == (2, 1, 1)
    assert (share.rounds, share.nothing_usable) == (3, 1)
    assert (share.given, share.due) == (0, 5)
    assert share.causes == ("HTTP 404", "not asked: spent")


def test_rounds_in_which_nobody_was_asked_have_no_part():
    opening = event(0, ["opening: every model at equal cost", "random, the opening leaves room in the round"])
    assert planner_share([opening, {"proposals": opening["proposals"]}], "agenttts").due == 0


def test_what_another_allocator_fills_in_is_not_the_planners():
    mixed = event(1, ["more of the small one"], origin="agent")
    mixed["proposals"].append({"origin": "curves", "reason": "highest predicted score"})
    share = planner_share([mixed], "agent")
    assert (share.given, share.due) == (1, 2)


def test_the_most_frequent_cause_of_several_searches_comes_first():
    one = planner_share([event(1, [FILLED], failed=1)], "llm_zs")
    other = planner_share([event(0, [FILLED], refused=1), event(1, [FILLED], failed=1)], "llm_zs")
    both = together([one, other])
    assert (both.calls, both.rounds, both.due) == (2, 3, 3)
    assert both.causes[0] == "HTTP 404"
