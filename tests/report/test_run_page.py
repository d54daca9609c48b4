"""The page of a run in a real browser: the answers in their order, nothing asked of the network, nothing foreign run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects
import pytest

from agenttts.report.run_answer import answer_part, answer_sentence
from agenttts.report.run_budgets import budgets_part
from agenttts.report.run_course import course_part
from agenttts.report.run_failures import failures_part
from agenttts.report.run_frontier import frontier_part
from agenttts.report.run_money import money_part
from agenttts.report.run_page import asked_text, run_page
from agenttts.report.run_problems import problems_part
from agenttts.report.run_reasons import reasons_part
from agenttts.study.statistics import PairedDifference
from tests.report.browsing import HOSTILE, looked_at, without_scripts
from tests.report.fabricated import SOURCE, difference, facts


def words(markup: str) -> str:
    text = re.sub(r"<[^>]+>", " ", without_scripts(markup))
    return re.sub(r"\s+", " ", text.replace("&#x27;", "'"))


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_answers_come_in_the_order_in_which_they_are_asked_for():
    text = words(run_page(facts()))
    order = [
        "What to run What else",  # the links
        "Run outline with sim/small (4 samples, majority), then solve with solve/large (4 samples, best_of_n(judge)).",
        "It scores 0.810 (95% interval 0.760 to 0.860) on 300 unseen problems and costs 1.6 GFLOPs a problem on the search problems, 80% of the budget.",
        "Winner and runner-up are not distinguishable on unseen problems.",
        "The plan stage model samples select",
        "agenttts evaluate runs/first/plan.yaml",
        "about as good: trial 4 (",
        "Score against cost.",
        "Cost of a problem by stage and kind.",
        "Score against budget.",
        "Gain of the final score by twice the samples at a stage.",
        "Why not another model",
        "Best so far against trials.",
        "What the planner says it has learnt",
        "A failed problem is no wrong answer",
        "Low and high are the ends of 95% intervals",
        "Problem p0000: the winner scores 1.00; trial 3 scores 1.00",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_every_chart_and_every_table_of_figures_says_what_its_figures_come_from():
    text = run_page(facts())
    assert SOURCE in words(text)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) == 8
    assert all("answers of simulated models" in one for one in captions)
    for part in ("trials", "problems"):
        section = text[text.index(f'<section id="{part}"') :]
        assert "answers of simulated models" in section[: section.index("<table")]


def test_predictions_are_told_apart_from_measurements():
    text = words("".join(budgets_part(facts()).parts))
    assert "Predicted by a fit to 9 trials, not measured" in text
    assert "A prediction, not a measurement: fitted to 9 trials." in text


def test_every_figure_is_one_that_plotly_knows():
    made = facts()
    parts = [make(made) for make in (frontier_part, money_part, budgets_part, reasons_part, course_part)]
    drawn = [one for part in parts for one in part.figures]
    assert len(drawn) == 8
    for one in drawn:
        plotly.graph_objects.Figure(
            data=one["data"], layout=one["layout"]
        )  # raises where a key or a value is unknown


def test_money_adds_up_to_the_whole_by_stage_and_kind():
    (drawn,) = money_part(facts()).figures
    bars = {one["name"]: one["y"] for one in drawn["data"]}
    assert bars == {
        "prefill": [0.2, 0.3],
        "decode": [0.3, 0.4],
        "fusion": [0, pytest.approx(0.2)],
        "verification": [0, 0.2],
    }
    assert "fusion 12%, verification 12%" in words("".join(money_part(facts()).parts))


def test_a_run_without_a_winner_says_what_to_do():
    made = facts()
    answer = replace(made.answer, winner=None, allocation=None, plan="", score=None, split="")
    head = replace(made.head, message="Give a larger budget.")
    lost = replace(made, answer=answer, head=head)
    assert answer_sentence(lost) == (
        "There is nothing to run yet: no allocation within 2 GFLOPs a problem has a score. Give a larger budget."
    )
    assert "nothing to run yet" in words(run_page(lost))


def test_a_score_on_the_problems_that_chose_it_is_said_to_flatter():
    made = facts()
    answer = replace(
        made.answer, split="search", difference=None, verdict="", unconfirmed_because="it was not asked for"
    )
    told = answer_sentence(replace(made, answer=answer))
    assert "on the 300 problems it was chosen by, which flatters it, and costs" in told
    assert "How sure that it is the best is not known: it was not asked for." in told


def test_a_search_score_below_the_unseen_one_is_not_said_to_flatter():
    made = facts()
    answer = replace(made.answer, search_score=replace(made.answer.score, mean=0.1))
    told = words("".join(answer_part(replace(made, answer=answer)).parts))
    assert "on the problems it was chosen by" in told
    assert "flatters" not in told
    assert "flatters" in words("".join(answer_part(made).parts))


def test_an_insight_links_to_the_trials_that_it_cites():
    text = run_page(facts())
    assert '<a href="#trial-1">1</a> and <a href="#trial-2">2</a>' in text
    assert '<tr id="trial-1">' in text


def test_the_first_sentence_names_the_cheapest_allocation_that_is_nearly_as_good_or_says_that_none_is():
    made = facts()
    assert (
        words(frontier_part(made).parts[0])
        .strip()
        .startswith("The cheapest trial that is about as good: trial 4 (")
    )
    alone = replace(
        made,
        answer=replace(made.answer, alternative=None, alternative_difference=None),
        frontier=tuple(replace(point, saves=-0.1) for point in made.frontier),
    )
    told = words(frontier_part(alone).parts[0])
    assert "No trial that costs at least a tenth less is about as good as the winner" in told
    assert "None that costs less at all was found that the search problems cannot tell from it." in told
    maybe = replace(alone, frontier=made.frontier)
    told = words(frontier_part(maybe).parts[0])
    assert "The cheapest that the search problems cannot tell from it: trial " in told
    assert "None that costs less" not in told


def test_what_scores_closest_to_the_winner_stands_first_below_it():
    made = facts()
    behind = [0.3, 0.2, None, 0.1]
    points = [
        replace(point, behind_winner=None if lost is None else difference(lost))
        for point, lost in zip(made.frontier, behind, strict=False)
    ]
    told = "".join(frontier_part(replace(made, frontier=tuple(points))).parts)
    places = [told.index(f"+{lost:.3f} [") for lost in (0.1, 0.2, 0.3)]
    assert places == sorted(places)


def test_the_chart_opens_on_the_trials_that_may_be_chosen():
    made = facts()
    points = [
        replace(point, behind_winner=PairedDifference(0.5, 0.4, 0.6, 0.001, 100, 0, 0.95, "m"))
        if i
        else point
        for i, point in enumerate(made.frontier)
    ]
    (drawn,) = frontier_part(replace(made, frontier=tuple(points))).figures
    low, high = drawn["layout"]["yaxis"]["range"]
    mine = points[0].score
    assert low < mine.low < mine.high < high
    assert high - low < 1.5 * (mine.high - mine.low)


@pytest.mark.parametrize(
    ("leaders", "told"),
    [([0, 0], "never changed"), ([0, 1], "changed 1 time"), ([0, 1, 0], "changed 2 times")],
)
def test_the_first_leader_is_no_change_of_the_lead(leaders: list[int], told: str):
    made = facts()
    steps = tuple(replace(made.course.steps[i], best=best) for i, best in enumerate(leaders))
    text = words("".join(course_part(replace(made, course=replace(made.course, steps=steps))).parts))
    assert f"The lead {told};" in text


def test_a_gain_around_nothing_reads_that_it_cannot_be_told_from_it():
    told = words("".join(reasons_part(facts()).parts))
    assert (
        "Twice the samples at solve move the final score by +0.080. At outline the gain cannot be told from 0."
        in told
    )
    assert "+0.010 [-0.040, +0.060] cannot be told from 0" in told


def test_a_stage_whose_gain_nobody_measured_is_named():
    made = facts()
    reasons = replace(made.reasons, gains=made.reasons.gains[:1])
    told = words("".join(reasons_part(replace(made, reasons=reasons)).parts))
    assert "At solve no two trials differ in the samples of the winner's model alone." in told


def test_only_points_of_one_curve_are_joined_and_a_single_one_names_the_stages_before_it():
    drawn = next(one for one in reasons_part(facts()).figures if one["title"].startswith("solve: "))
    joined, single = (one for one in drawn["data"] if "error_y" in one)
    assert (joined["x"], joined["mode"]) == ([1, 2, 4], "lines+markers")
    assert (single["x"], single["mode"]) == ([8], "markers")
    assert all("outline sim/small x4 majority" in text for text in joined["text"])


def test_long_texts_are_cut_and_say_where_all_of_them_is():
    assert "x" * 2501 not in run_page(facts(text="x" * 9000))
    text = "".join(problems_part(facts(text="x" * 9000)).parts)
    assert "The text goes on; agenttts export has all of it." in text
    assert "agenttts export runs/first --draws FILE.jsonl" in text


def test_problems_on_which_winner_and_runner_up_differ_come_first_and_stand_beside_the_right_answer():
    made = facts()
    same = replace(made.problems[0], id="same", runner_up=1.0, text="How much is 1 + 1?")
    apart = replace(same, id="apart", runner_up=0.0, text="How much is 6 x 7?", golds={"solve": "42"})
    told = words("".join(problems_part(replace(made, problems=(same, apart))).parts))
    assert told.index("How much is 6 x 7? 1.00 0.00 0.50") < told.index("How much is 1 + 1?")
    assert "42 apart" in told


def test_the_right_answer_stands_below_the_selected_one():
    made = facts()
    problem = replace(made.problems[0], golds={"solve": "42"})
    told = words("".join(problems_part(replace(made, problems=(problem,))).parts))
    assert "Selected answer: said, score 1.00 Right answer: 42" in told


def test_calls_of_verifiers_are_no_samples():
    made = facts(n_passes=1)
    (one,) = made.rollouts.passes
    stage = one.stages[1]
    judged = replace(stage, samples=(*stage.samples, replace(stage.samples[0], purpose="verify")))
    rollouts = replace(made.rollouts, passes=(replace(one, stages=(judged,)),))
    told = words("".join(problems_part(replace(made, rollouts=rollouts)).parts))
    assert " 2 samples " in told
    assert " 1 verify call " in told


def test_passes_that_there_is_no_room_for_are_counted():
    told = words("".join(problems_part(facts(n_passes=400, text="y" * 1400)).parts))
    left = int(re.search(r"(\d+) more are left out to keep the page small", told)[1])
    shown = len(re.findall(r"Problem p\d+:", told))
    assert left + 2 * shown == 400


def test_a_run_without_trials_claims_nothing_of_failures_and_problems():
    made = facts()
    none = replace(
        made.failures, groups=(), samples=(), invalid=(), over_budget=(), stopped=(), pilot_failed=0
    )
    head = replace(made.head, n_problems=0)
    told = words("".join(failures_part(replace(made, trials=(), failures=none)).parts))
    assert told.strip() == "No trial has come to its end, so that nothing can be said of what fails."
    assert "; no search problem has a score yet; score" in asked_text(head)
    assert "; 1 search problem; score" in asked_text(replace(head, n_problems=1))


def test_the_same_facts_give_the_same_page():
    assert run_page(facts()) == run_page(facts())


# --- what is written by others ---------------------------------------------------------------------------------------


def test_what_is_written_by_others_is_no_markup():
    text = run_page(facts(text=HOSTILE, name=HOSTILE))
    assert "<img" not in without_scripts(text)
    assert "document.title='owned'</script>" not in text
    assert "&lt;img src=x" in text


def test_hostile_texts_stay_text_in_a_browser(tmp_path: Path):
    questions = [
        "document.title",
        "document.images.length",
        "document.querySelectorAll('.js-plotly-plot').length",
    ]
    seen = looked_at(run_page(facts(text=HOSTILE, name=HOSTILE)), tmp_path, questions)
    title, images, plots = seen.answers
    assert "owned'" in title  # as text of the task's name, cut by nothing
    assert title != "owned"
    assert images == 0
    assert plots == 8
    assert seen.complaints == []


# --- in a browser ----------------------------------------------------------------------------------------------------


def test_a_browser_draws_all_without_complaint_and_asks_for_nothing_but_the_page(tmp_path: Path):
    headings = "[...document.querySelectorAll('h2')].map(one => one.textContent)"
    seen = looked_at(
        run_page(facts()), tmp_path, ["document.querySelectorAll('.js-plotly-plot').length", headings]
    )
    assert seen.answers[0] == 8
    assert seen.answers[1] == [
        "What to run",
        "What else is nearly as good",
        "Where the money goes",
        "What more or less budget would buy",
        "Why this allocation",
        "How the search went",
        "What failed",
        "Single trials",
        "Single problems",
    ]
    assert seen.complaints == []
    assert {address.partition(":")[0] for address in seen.requests} <= {"file", "data", "blob"}
    assert [address for address in seen.requests if address.startswith("file")] == [
        (tmp_path / "page.html").as_uri()
    ]


@pytest.mark.parametrize("is_dark", [False, True])
def test_on_a_phone_the_page_is_no_wider_than_the_screen(tmp_path: Path, is_dark: bool):
    questions = [
        "document.documentElement.scrollWidth",
        "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth).length",
        "document.querySelectorAll('#trials tbody tr')[0].cells[6].getBoundingClientRect().right <= 360",
        "getComputedStyle(document.querySelectorAll('#trials tbody tr')[0].cells[1], '::before').content",
        "getComputedStyle(document.body).backgroundColor",
    ]
    seen = looked_at(run_page(facts()), tmp_path, questions, width=360, is_dark=is_dark)
    assert seen.answers[0] == 360
    assert seen.answers[1] == 0  # no table goes on beyond the side: its rows are stacked
    assert seen.answers[2:4] == [True, '"score"']
    assert seen.answers[4] == ("rgb(20, 25, 31)" if is_dark else "rgb(255, 255, 255)")
    assert seen.complaints == []


def test_the_keyboard_reaches_the_content_and_shows_where_it_is(tmp_path: Path):
    where = "[document.activeElement.className, document.activeElement.getAttribute('href')]"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    place = "document.activeElement.getBoundingClientRect().left >= 0"
    seen = looked_at(run_page(facts()), tmp_path, [where, outline, place], tabs=1)
    assert seen.answers == [["skip", "#content"], "solid", True]
    links = [
        f"document.querySelector('{one}') !== null"
        for one in ("main#content", "nav[aria-label]", "header h1")
    ]
    reached = "document.activeElement.closest('nav, main') !== null"
    seen = looked_at(run_page(facts()), tmp_path, [*links, reached], tabs=3)
    assert seen.answers == [True, True, True, True]


def test_everything_that_can_be_used_has_a_name_and_a_place_in_the_order(tmp_path: Path):
    questions = [
        "[...document.querySelectorAll('.wide')].every(one => one.tabIndex === 0 && one.getAttribute('aria-label'))",
        "[...document.querySelectorAll('.plot')].every(one => one.getAttribute('role') === 'img' && one.getAttribute('aria-label'))",
        "[...document.querySelectorAll('section[aria-labelledby]')].every(one => document.getElementById(one.getAttribute('aria-labelledby')))",
        "new Set([...document.querySelectorAll('[id]')].map(one => one.id)).size === document.querySelectorAll('[id]').length",
    ]
    assert looked_at(run_page(facts()), tmp_path, questions).answers == [True] * 4


def test_tables_of_trials_are_sorted_by_their_heads(tmp_path: Path):
    click = (
        "[...document.querySelectorAll('#trials th button')].find(one => one.textContent === 'score').click()"
    )
    scores = "[...document.querySelectorAll('#trials tbody tr')].map(one => Number(one.cells[1].textContent))"
    seen = looked_at(run_page(facts()), tmp_path, [scores, click, scores, click, scores])
    written, _, up, _, down = seen.answers
    assert written != sorted(written)
    assert up == sorted(written)
    assert down == sorted(written, reverse=True)


def test_without_javascript_everything_but_the_charts_is_there(tmp_path: Path):
    questions = [
        "document.querySelectorAll('#trials tbody tr').length",
        "[...document.querySelectorAll('.plot')].every(one => one.offsetParent === null)",
        "document.body.innerText.includes('The plots need JavaScript')",
        "document.querySelector('#frontier table').offsetParent !== null",
        "document.querySelectorAll('th button').length",
    ]
    seen = looked_at(run_page(facts()), tmp_path, questions, scripts=False)
    assert seen.answers == [12, True, True, True, 0]


def test_a_thousand_trials_stay_below_two_megabytes_and_are_drawn(tmp_path: Path):
    text = run_page(facts(n_trials=1000, n_problems=500, n_passes=40, text="a reply of some length " * 40))
    assert len(text.encode()) < 2_000_000
    rows = "document.querySelectorAll('#trials tbody tr').length"
    seen = looked_at(text, tmp_path, [rows, "document.documentElement.scrollWidth <= innerWidth"])
    assert seen.answers == [1000, True]
    assert seen.complaints == []
