"""A run's page, why this allocation: gain by stage, saturation with samples, influence, and why not another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttts.report.pages import (
    BELOW,
    COLOURS,
    DASHES,
    MARKS,
    Figure,
    Part,
    band,
    chart,
    escaped,
    figure,
    paragraph,
    table,
    titled,
    whiskers,
)
from agenttts.report.run_words import measured_text, predicted_text, prediction_text
from agenttts.report.words import chance_text, cut, listed, plural

if TYPE_CHECKING:
    from agenttts.allocators.evidence import Estimate
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import OtherModel, SampleCurve, SampleGain, StageCurve

__all__ = ["reasons_part"]

PLACE, TITLE = "reasons", "Why this allocation"
HOW = {
    True: "trials that are the winner but for the number of these samples, paired by problem",
    False: "trials alike but for the number of these samples, other stages unlike the winner's; paired by problem",
}
MOST_LINES = 6
"""Curves of one chart; the table has all."""
LONGEST = 600


def reasons_part(facts: RunFacts) -> Part:
    """Return the part."""
    saturation = _saturation_charts(facts)
    gains = _gains(facts)
    parts = [*gains[0], *(markup for markup, _ in saturation), *_influence(facts), *_others(facts)]
    if not parts:
        parts = [paragraph("Too few trials and problems say anything about single stages.")]
    return Part(PLACE, TITLE, tuple(parts), (*gains[1], *(one for _, one in saturation)))


# --- gains -----------------------------------------------------------------------------------------------------------


def _gains(facts: RunFacts) -> tuple[list[str], list[Figure]]:
    gains = facts.reasons.gains
    if not gains:
        return [], []
    rows = [
        [
            one.stage,
            one.model,
            f"{one.gain.value:+.3f} [{one.gain.low:+.3f}, {one.gain.high:+.3f}]",
            _reading(one),
            HOW[one.at_winner],
            f"{one.n_pairs:,}",
        ]
        for one in gains
    ]
    head = ["stage", "model of the winner", "gain and interval", "reads", "how", "pairs"]
    told = table(head, rows, label="Gain by stage", right=[5])
    drawn = _gains_figure(gains)
    source = measured_text(facts.head, "on the search problems")
    return [chart(drawn, says=_gain_words(gains, facts.head.stages), source=source), told], [drawn]


def _reading(one: SampleGain) -> str:
    if not one.is_told:
        return "cannot be told from 0"
    return "surely gains" if one.gain.value > 0 else "surely loses"


def _gain_words(gains: Sequence[SampleGain], stages: Sequence[str]) -> str:
    sure = [one for one in gains if one.is_told]
    open_ = [one.stage for one in gains if not one.is_told]
    told = [
        f"Twice the samples at {one.stage} move the final score by {one.gain.value:+.3f}." for one in sure
    ]
    if open_:
        told.append(f"At {listed(open_)} the gain cannot be told from 0.")
    unknown = [stage for stage in stages if stage not in {one.stage for one in gains}]
    if unknown:
        told.append(f"At {listed(unknown)} no two trials differ in the samples of the winner's model alone.")
    return " ".join(told)


def _gains_figure(gains: Sequence[SampleGain]) -> Figure:
    values = [one.gain for one in gains]
    bars = {
        "type": "bar",
        "x": [escaped(one.stage) for one in gains],
        "y": [one.value for one in values],
        "error_y": {**_intervals(values), "color": COLOURS[7]},
        "marker": {"color": COLOURS[2]},
        "showlegend": False,
    }
    title = "Gain of the final score by twice the samples at a stage"
    drawn = figure("gains-plot", title, [bars], {"type": "category"}, titled("gain"))
    drawn["layout"] |= {"height": 300, "bargap": 0.6}
    return drawn


def _intervals(values: Sequence[Estimate]) -> Figure:
    return whiskers([one.value for one in values], [one.low for one in values], [one.high for one in values])


# --- saturation ------------------------------------------------------------------------------------------------------


def _saturation_charts(facts: RunFacts) -> list[tuple[str, Figure]]:
    stages = dict.fromkeys(
        [*(one.stage for one in facts.reasons.saturation), *(one.stage for one in facts.reasons.curves)]
    )
    return [_saturation_chart(facts, place, stage) for place, stage in enumerate(stages)]


def _saturation_chart(facts: RunFacts, place: int, stage: str) -> tuple[str, Figure]:
    measured = [one for one in facts.reasons.saturation if one.stage == stage]
    fitted = [one for one in facts.reasons.curves if one.stage == stage]
    names = _drawn(facts, measured, fitted)
    data: list[Figure] = []
    for i, name in enumerate(names):
        data += _measured_lines(i, [one for one in measured if (one.model, one.select) == name])
        data += [line for one in fitted if (one.model, one.select) == name for line in _fitted_lines(i, one)]
    of_final = any(one.of == "final" for one in measured)
    y = "final score" if of_final else "score of the stage's answer"
    x = {**titled("samples"), "type": "log", "dtick": 0.30103}  # the logarithm of 2
    drawn = figure(f"saturation-{place}", f"{escaped(stage)}: score by number of samples", data, x, titled(y))
    drawn["title"] = f"{stage}: score by number of samples"
    source = measured_text(facts.head, "on the search problems")
    if fitted:
        source += f" Dashed lines: {predicted_text(facts.head, facts.reasons.fit)}"
    drawn["layout"] |= {"legend": BELOW, "height": 460}
    values = _saturation_table(measured, fitted)
    return chart(drawn, says=_saturation_words(measured, len(names)), source=source, values=values), drawn


def _drawn(
    facts: RunFacts, measured: Sequence[SampleCurve], fitted: Sequence[StageCurve]
) -> list[tuple[str, str]]:
    """Return model and way of the curves that are drawn: what the winner takes first, then those with most points."""
    known: dict[tuple[str, str], int] = {}
    for one in measured:
        known[one.model, one.select] = max(known.get((one.model, one.select), 0), len(one.points))
    seen = {(one.model, one.select): 0 for one in fitted if one.seen}
    chosen = {(one.model, one.select) for one in fitted if one.chosen is not None}
    names = sorted({*known, *seen, *chosen}, key=lambda name: (name not in chosen, -known.get(name, 0), name))
    return names[:MOST_LINES]


def _measured_lines(place: int, curves: Sequence[SampleCurve]) -> list[Figure]:
    """Return a line for each curve of one model and way, and all points that no line joins as one trace."""
    joined = [one for one in curves if len(one.points) > 1]
    single = [one for one in curves if len(one.points) == 1]
    traces = [_trace(place, [one], "lines+markers") for one in joined]
    traces += [_trace(place, single, "markers")] if single else []
    return [{**one, "showlegend": i == 0} for i, one in enumerate(traces)]


def _trace(place: int, curves: Sequence[SampleCurve], mode: str) -> Figure:
    points = [(n, one.points[n], _beside(one)) for one in curves for n in sorted(one.points)]
    values = [value for _, value, _ in points]
    name = escaped(f"{curves[0].model} {curves[0].select}")
    symbol = MARKS[place % len(MARKS)]
    return {
        "x": [n for n, _, _ in points],
        "y": [value.value for value in values],
        "error_y": _intervals(values),
        "text": [escaped(f"{beside}; {value.n} problems") for _, value, beside in points],
        "mode": mode,
        "name": name,
        "legendgroup": name,
        "line": {"color": COLOURS[place % len(COLOURS)]},
        "marker": {
            "symbol": symbol if mode != "markers" else f"{symbol}-open",
            "size": 7,
            "color": COLOURS[place % len(COLOURS)],
        },
    }


def _beside(one: SampleCurve) -> str:
    """Return what the other stages are along a curve."""
    return ", ".join(str(choice) for choice in one.beside) or "no stage before it"


def _fitted_lines(place: int, one: StageCurve) -> list[Figure]:
    colour, name = COLOURS[place % len(COLOURS)], escaped(f"{one.model} {one.select}")
    x = [point.n_samples for point in one.points]
    known = [point.predicted for point in one.points]
    line = {
        "x": x,
        "y": [value.mean for value in known],
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "line": {"color": colour, "dash": DASHES[1]},
    }
    if one.chosen is None:
        return [line]
    lows, highs = [value.low for value in known], [value.high for value in known]
    return [*band(x, lows, highs, colour=colour, name=name, shape="linear"), line]


def _saturation_words(measured: Sequence[SampleCurve], n_drawn: int) -> str:
    flat = dict.fromkeys(
        f"{one.model} {one.select} from {plural(one.flat_from, 'sample')} on{_after(one)}"
        for one in measured
        if one.flat_from is not None
    )
    told = (
        f"It is surely flat, so that more samples gain less than 0.1, for {'; '.join([*flat][:MOST_LINES])}."
        if flat
        else "Nowhere is it sure that more samples gain nothing."
    )
    return (
        f"Models and ways drawn: {n_drawn:,}, with 95% intervals. A line joins trials with the same "
        f"stages before it, on the same problems; a point on its own (hollow) shares them with no other. {told}"
    )


def _after(one: SampleCurve) -> str:
    return f" (with {_beside(one)})" if one.beside else ""


def _saturation_table(measured: Sequence[SampleCurve], fitted: Sequence[StageCurve]) -> str:
    rows = [
        [one.model, one.select, "measured", str(n), str(one.points[n]), str(one.points[n].n), _beside(one)]
        for one in measured
        for n in sorted(one.points)
    ]
    rows += [
        [
            one.model,
            one.select,
            "predicted" if one.seen else "predicted from other models",
            str(point.n_samples),
            prediction_text(point.predicted),
            "",
            "right answers",
        ]
        for one in fitted
        for point in one.points
    ]
    head = ["model", "select", "how", "samples", "score and interval", "problems", "after"]
    return table(head, rows, label="Score by number of samples", right=[3, 5], is_long=True)


# --- influence and other models --------------------------------------------------------------------------------------


def _influence(facts: RunFacts) -> list[str]:
    found = facts.reasons.influence
    if not found:
        return []
    rows = [
        [
            one.stage,
            str(one.after_right),
            str(one.after_wrong),
            f"{one.after_right.value - one.after_wrong.value:+.3f}",
        ]
        for one in found
    ]
    return [
        "<h3>How a stage moves what comes after it</h3>",
        paragraph(measured_text(facts.head, "on the search problems"), "soft"),
        table(
            ["stage", "final score where it was right", "where it was wrong", "difference"], rows, right=[3]
        ),
    ]


def _others(facts: RunFacts) -> list[str]:
    others = facts.reasons.other_models
    if not others:
        return []
    head = [
        "stage",
        "model",
        "why not",
        "one sample of it",
        "one of the chosen",
        "predicted at best",
        "chance to be better",
    ]
    source = f"{measured_text(facts.head, 'on the search problems')} {predicted_text(facts.head, facts.reasons.fit)}"
    return [
        "<h3>Why not another model</h3>",
        paragraph(source.strip(), "soft"),
        table(head, [_other(one) for one in others], label="Why not another model", right=[6], fill=[2]),
    ]


def _other(one: OtherModel) -> list[str]:
    return [
        one.stage,
        one.model,
        cut(one.why, LONGEST),
        "unknown" if one.single is None else str(one.single.score),
        "unknown" if one.chosen_single is None else str(one.chosen_single.score),
        prediction_text(one.predicted),
        "" if one.chance is None else chance_text(one.chance),
    ]
