"""Blocks of task.yaml for how samples are scored and spent: verifiers, and the ways from samples to one answer.

A setting that is marked as a knob takes a value or a list of values; a list makes one way of each value (of each
combination, where there are several), and the search chooses among them as it does among models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from agenttts.task.options import Block as _Block
from agenttts.task.options import Count
from agenttts.task.prompting import PromptBlock, SamplingBlock

__all__ = [
    "KNOBS",
    "NEEDS_GOLD",
    "STEPWISE",
    "CriticBlock",
    "SelectBlock",
    "StageTestBlock",
    "VerifierBlock",
    "the",
]

T = TypeVar("T")


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_several), Field(min_length=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(_several), Field(min_length=1)]
Aggregate = Literal["min", "product", "mean", "last"]
Aggregates = Annotated[tuple[Aggregate, ...], BeforeValidator(_several), Field(min_length=1)]


def the(values: tuple[T, ...]) -> T:
    """Return the one value of a knob of a way that stands for itself (see `SelectBlock.ways`).

    Raises:
        ValueError: There are several.
    """
    if len(values) != 1:
        raise ValueError(f"expected one value, got {len(values)}: take one of the block's `ways`")
    return values[0]


class VerifierBlock(_Block):
    """What scores an output. In YAML a bare word is short for `{kind: word}`, or for `{card: word}`."""

    kind: Literal[
        "exact",
        "set_f1",
        "token_f1",
        "numeric",
        "choice",
        "math",
        "rouge_l",
        "node_f1",
        "parameter_f1",
        "regex",
        "json_schema",
        "function",
        "recorded",
        "tiny_prm",
        "code",
        "executable",
        "completeness",
        "judge",
        "orm",
        "prm",
        "gen_prm",
        "self_certainty",
        "agreement",
        "similarity",
    ]
    tolerance: Annotated[float, Field(ge=0)] = 1e-9
    """`numeric`: accepted difference, relative to the larger value where that is above 1, else absolute."""
    normalise: bool | Literal["squad"] = True
    """`exact`: compare after SQuAD normalisation (case, punctuation, articles, white space), but numbers as numbers;
    `squad`: to the letter as the official script does, which takes 4.2 and 42 for the same."""
    yes_no: bool = False
    """`token_f1`: as the scripts of HotpotQA and 2WikiMultihopQA do, where yes, no and noanswer, on either side, earn
    nothing unless the whole answers agree."""
    stemmer: bool = False
    """`rouge_l`: compare words by their stems (Porter)."""
    values: bool = True
    """`parameter_f1`: an argument is right by tool, name and value; `false`: by tool and name alone."""
    pattern: str | None = None
    """`regex`: must match the whole answer."""
    json_schema: dict[str, Any] | None = None
    function: str | None = None
    """`function`: called with (problem fields, answer, text), returns a number in [0, 1], or a list of them, one per
    step, which `aggregate` turns into one. Needs `--trust`."""
    aggregate: Aggregates = ("min",)
    """`tiny_prm`, `prm`, `gen_prm`, and functions that score steps: from step scores to one. A knob."""
    model: str | None = None
    """`judge`, `gen_prm`: card of the model that is asked. `orm`, `prm`: card with `source: reward`.
    `similarity`: card with `source: embedding`."""
    field: str | None = None
    """`similarity`: dotted path of the problem field, a text, that answers should be like."""
    samples: Counts = (1,)
    """`judge`, `gen_prm`: replies per question, averaged; all are billed. A knob."""
    form: Literal["pointwise", "pairwise", "listwise"] = "pointwise"
    """`judge`: one reply per sample; per pair of samples, in both orders; or about all samples together."""
    rubric: str | None = None
    """`judge`: what a good answer is, in words; `None`: right and complete."""
    logprobs: bool = False
    """`judge`, pointwise: take the mark from the probabilities of the tokens, where the endpoint gives them; marks are
    then asked for from 0 to 9 instead of 0 to 10, as one digit is one token."""
    prompt: PromptBlock | None = None
    """`judge`, `gen_prm`: in place of the built-in prompt. Variables, all texts of others in fences: `prompt` (what was
    asked); of judges `text`, `answer`, `candidates` (texts), `rubric`, `best` (the highest mark); of gen_prm `steps` (up
    to the one to judge), `step`, `number`, `execute`; `mark` stands in every fence. The reply to a judge's must hold a
    JSON object with `mark` and perhaps `reasons` (pairwise: `better`, 1, 2 or 0; listwise: `marks`)."""
    sampling: SamplingBlock | None = None
    """`judge`, `gen_prm`: how replies are drawn; `None`: temperature 0 with one reply, 0.7 with several, at most 1024
    tokens."""
    separator: str | None = None
    """`prm`, `gen_prm`: what stands between two steps; `None`: the card's, else a blank line."""
    execute: bool = True
    """`gen_prm`: run the Python that the model writes, in the sandbox, and let it read what came out."""
    tests: str | None = None
    """`code`: dotted path of the problem field with the tests."""
    suite: Literal["auto", "asserts", "stdin", "humaneval"] = "auto"
    """`code`: what the tests look like: assertions (MBPP), inputs with expected outputs, or a `check(candidate)`."""
    entry_point: str = "entry_point"
    """`code`: dotted path of the field with the name of the function, for `humaneval`."""
    partial: bool = False
    """`code`: score the share of tests passed, rather than all or nothing."""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """`code`, `executable`, `gen_prm`: of one program."""
    memory_mb: Count = 512
    """`code`, `executable`, `gen_prm`: of one program."""
    isolation: Literal["auto", "bubblewrap", "process"] = "auto"
    """`code`, `executable`, `gen_prm`: `auto` takes bubblewrap where it works; what was used is in the result."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> VerifierBlock:
        needed = {
            "regex": "pattern",
            "json_schema": "json_schema",
            "function": "function",
            "code": "tests",
            "judge": "model",
            "orm": "model",
            "prm": "model",
            "gen_prm": "model",
            "similarity": "model",
        }
        key = needed.get(self.kind)
        if key is not None and getattr(self, key) is None:
            raise ValueError(f"verifier {self.kind} needs `{key}`")
        if self.kind == "similarity" and self.field is None:
            raise ValueError("verifier similarity needs `field`: what answers should be like")
        for name, kinds in _READ_BY.items():
            # Not what was set: stored tasks write every default out.
            given = getattr(self, name) != VerifierBlock.model_fields[name].default
            if given and self.kind not in kinds:
                raise ValueError(f"`{name}` is read by {', '.join(sorted(kinds))}, and not by {self.kind}")
        return self

    @property
    def short(self) -> str:
        """Name in labels."""
        return self.kind

    @property
    def knobs(self) -> list[str]:
        """Names of the settings that hold several values."""
        return [name for name in ("aggregate", "samples") if len(getattr(self, name)) > 1]


_SANDBOXED = frozenset({"code", "executable", "gen_prm"})
_READ_BY: Mapping[str, frozenset[str]] = {
    "tolerance": frozenset({"numeric"}),
    "normalise": frozenset({"exact"}),
    "yes_no": frozenset({"token_f1"}),
    "stemmer": frozenset({"rouge_l"}),
    "values": frozenset({"parameter_f1"}),
    "pattern": frozenset({"regex"}),
    "json_schema": frozenset({"json_schema"}),
    "function": frozenset({"function"}),
    "aggregate": frozenset({"tiny_prm", "prm", "gen_prm", "function"}),
    "model": frozenset({"judge", "orm", "prm", "gen_prm", "similarity"}),
    "field": frozenset({"similarity"}),
    "samples": frozenset({"judge", "gen_prm"}),
    "form": frozenset({"judge"}),
    "rubric": frozenset({"judge"}),
    "logprobs": frozenset({"judge"}),
    "prompt": frozenset({"judge", "gen_prm"}),
    "sampling": frozenset({"judge", "gen_prm"}),
    "separator": frozenset({"prm", "gen_prm"}),
    "execute": frozenset({"gen_prm"}),
    "tests": frozenset({"code"}),
    "suite": frozenset({"code"}),
    "entry_point": frozenset({"code"}),
    "partial": frozenset({"code"}),
    "timeout_s": _SANDBOXED,
    "memory_mb": _SANDBOXED,
    "isolation": _SANDBOXED,
}
"""Setting -> the verifiers that read it. Elsewhere it would say what is not done, and as a list make ways that are one."""
NEEDS_GOLD = frozenset(
    {"exact", "set_f1", "token_f1", "numeric", "choice", "math", "rouge_l", "node_f1", "parameter_f1"}
)
"""Verifiers that compare with a gold field; they cannot select, because production has no gold."""
ASKS_MODEL = frozenset({"tiny_prm", "judge", "orm", "prm", "gen_prm", "similarity"})
"""Verifiers that ask models, which cost something."""
STEPWISE = frozenset({"tiny_prm", "prm", "gen_prm"})
"""Verifiers that score the beginning of a reply, so that a search over steps can be led by them."""


class StageTestBlock(_Block):
    """A test stage: it asks no model and runs a verifier on what another stage answered.

    Its answer is a mapping: `passed` (the score is 1), `score` (a number in [0, 1]) and `feedback` (what the verifier
    says, for a model that is to mend the answer).
    """

    stage: str
    """The stage that is tested; one of `needs`."""
    verifier: VerifierBlock
    """Any that needs no gold, asks no model and scores an answer by itself."""

    @model_validator(mode="after")
    def _usable(self) -> StageTestBlock:
        kind = self.verifier.kind
        if kind in NEEDS_GOLD or kind == "recorded":
            raise ValueError(
                f"{kind} compares with gold, which production has not: a test takes no such verifier"
            )
        if kind in ASKS_MODEL:
            raise ValueError(
                f"{kind} asks a model, and a test stage asks none: write a stage with a `prompt`, or let a `select` "
                "use this verifier"
            )
        if kind in {"agreement", "self_certainty"}:
            raise ValueError(
                f"{kind} judges samples by how they were drawn, and a test sees the answer alone"
            )
        if several := self.verifier.knobs:
            raise ValueError(f"`{several[0]}` of a test takes one value")
        return self


class CriticBlock(_Block):
    """Who says what is wrong with a sample before it is refined."""

    model: str | None = None
    """Card; `None`: the model of the stage itself."""
    prompt: PromptBlock | None = None
    """Variables: those of the stage's prompt, `prompt` (what was asked), `text` and `answer`; `None`: the built-in one."""
    sampling: SamplingBlock | None = None
    """`None`: the stage's, at temperature 0."""
    verifier: VerifierBlock | None = None
    """Feedback is what this verifier says (a generative PRM's analysis, a failed test) instead of a model's reply."""

    @model_validator(mode="after")
    def _one_voice(self) -> CriticBlock:
        given = [name for name in ("model", "prompt", "sampling") if getattr(self, name) is not None]
        if self.verifier is not None and given:
            raise ValueError(f"`{given[0]}` is for a model that criticises, and here `verifier` does")
        if self.verifier is not None and self.verifier.knobs:
            raise ValueError(f"`{self.verifier.knobs[0]}` of a critic's verifier takes one value")
        return self


SCORED = frozenset({"weighted_vote", "best_of_n", "adaptive_best", "beam", "dvts", "tree"})
"""Ways that need a verifier."""
MAY_SCORE = frozenset({"refine", "cascade"})
"""Ways that may have one."""
KNOBS = ("confidence", "threshold", "least_gain", "width", "to", "below")
"""Settings of a way that may be lists; of its verifier also `aggregate` and `samples`."""


class SelectBlock(_Block):
    """One way to spend samples and turn them into one answer. In YAML a bare word is short for `{kind: word}`.

    `n_samples` of the stage is the most that a way may draw of its own model; ways that stop early are charged for
    what they draw.
    """

    kind: Literal[
        "first",
        "majority",
        "list_vote",
        "weighted_vote",
        "best_of_n",
        "fusion",
        "agreed_fusion",
        "llm_select",
        "adaptive_vote",
        "adaptive_best",
        "refine",
        "beam",
        "dvts",
        "tree",
        "cascade",
    ]
    verifier: VerifierBlock | None = None
    """What scores the samples; it must need no gold. Needed by weighted_vote, best_of_n, adaptive_best, beam, dvts and
    tree; `refine` stops at a sample that it likes and keeps the best; `cascade` may escalate by it."""
    prompt: PromptBlock | None = None
    """`fusion`, `agreed_fusion`, `llm_select`, `refine`, `tree`: in place of the built-in prompt."""
    sampling: SamplingBlock | None = None
    """`fusion`, `agreed_fusion`, `llm_select`: `None`: the stage's, at temperature 0."""
    model: str | None = None
    """`llm_select`: card of the model that chooses; `None`: the stage's."""
    critic: CriticBlock | None = None
    """`refine`: `None`: the model is asked to look over its own work."""
    confidence: Shares = (0.95,)
    """`adaptive_vote`: stop when the leading answer is this sure to stay ahead. A knob."""
    threshold: Shares = (0.9,)
    """`adaptive_best`, `refine`: stop at a sample with this score. A knob."""
    least_gain: Shares = (0.0,)
    """`adaptive_best`: stop, too, when one more sample is expected to raise the best score by less. A knob."""
    width: Counts = (4,)
    """`beam`, `dvts`: continuations that each kept beginning gets; n_samples / width are kept. A knob."""
    separator: str | None = None
    """`beam`, `dvts`: what ends a step; `None`: that of the verifier, else a blank line."""
    max_steps: Count = 40
    """`beam`, `dvts`: steps after which a beginning is taken as it is."""
    to: Words | None = None
    """`cascade`: cards of models to escalate to. A knob."""
    below: Shares = (0.5,)
    """`cascade`: escalate where agreement (with a verifier: the best score) is below this. A knob."""
    label: str | None = None
    """Name in allocations and reports; `None`: the kind, with the model that it escalates to and the verifier's kind in
    brackets."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> SelectBlock:
        for fault in _misfits(self):
            raise ValueError(fault)
        return self

    @property
    def name(self) -> str:
        """Label in allocations and reports."""
        inside = [f"to {self.to[0]}"] if self.to is not None and len(self.to) == 1 else []
        if self.verifier is not None:
            inside.append(self.verifier.short)
        return self.label or self.kind + (f"({', '.join(inside)})" if inside else "")

    @property
    def ways(self) -> tuple[SelectBlock, ...]:
        """One block for each combination of the knobs' values, labelled by the values of those that are lists."""
        own = {name: values for name in KNOBS if len(values := getattr(self, name) or ()) > 1}
        inner = {}
        if self.verifier is not None:
            inner = {name: getattr(self.verifier, name) for name in self.verifier.knobs}
        if not own and not inner:
            return (self,)
        return tuple(
            self._with(dict(zip([*own, *inner], values, strict=True)), frozenset(inner))
            for values in product(*own.values(), *inner.values())
        )

    def _with(self, values: Mapping[str, Any], inner: frozenset[str]) -> SelectBlock:
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        update: dict[str, Any] = {name: (value,) for name, value in values.items() if name not in inner}
        if self.verifier is not None and inner:
            update["verifier"] = self.verifier.model_copy(update={n: (values[n],) for n in inner})
        return self.model_copy(update={**update, "label": f"{self.name}[{shown}]"})


_GIVEN_TO: Mapping[str, frozenset[str]] = {
    "prompt": frozenset({"fusion", "agreed_fusion", "llm_select", "refine", "tree"}),
    "sampling": frozenset({"fusion", "agreed_fusion", "llm_select"}),
    "model": frozenset({"llm_select"}),
    "critic": frozenset({"refine"}),
    "confidence": frozenset({"adaptive_vote"}),
    "threshold": frozenset({"adaptive_best", "refine"}),
    "least_gain": frozenset({"adaptive_best"}),
    "width": frozenset({"beam", "dvts"}),
    "separator": frozenset({"beam", "dvts"}),
    "max_steps": frozenset({"beam", "dvts"}),
    "to": frozenset({"cascade"}),
    "below": frozenset({"cascade"}),
}
"""Setting -> the ways that read it."""


def _misfits(way: SelectBlock) -> Iterator[str]:
    if way.kind in SCORED and way.verifier is None:
        yield f"{way.kind} needs `verifier`"
    if way.verifier is not None and way.kind not in SCORED | MAY_SCORE:
        yield f"`verifier` is read by {', '.join(sorted(SCORED | MAY_SCORE))}, and not by {way.kind}"
    for name, kinds in _GIVEN_TO.items():
        given = getattr(way, name) != SelectBlock.model_fields[name].default
        if given and way.kind not in kinds:
            yield f"`{name}` is read by {', '.join(sorted(kinds))}, and not by {way.kind}"
    yield from _settings_misfits(way)
    if way.kind == "cascade" and not way.to:
        yield "cascade needs `to`: the models to escalate to"
    critic = way.critic.verifier if way.critic is not None else None
    for verifier in filter(None, (way.verifier, critic)):
        if verifier.kind == "recorded":
            yield "verifier recorded knows what was right, which production does not"
        if verifier.kind in NEEDS_GOLD:
            yield f"verifier {verifier.kind} compares with gold, which production does not have"
    if way.kind in {"beam", "dvts"} and way.verifier is not None and way.verifier.kind not in STEPWISE:
        yield f"{way.kind} needs a verifier that scores steps: {', '.join(sorted(STEPWISE))}"


def _settings_misfits(way: SelectBlock) -> Iterator[str]:
    knobs = {name: getattr(way, name) or () for name in KNOBS}
    if way.verifier is not None:
        knobs |= {name: getattr(way.verifier, name) for name in ("aggregate", "samples")}
    for name, values in knobs.items():
        for value in dict.fromkeys(value for value in values if values.count(value) > 1):
            yield f"`{name}`: {value} stands twice"
    if way.separator == "":
        yield "`separator` is empty: nothing would end a step"
    system = way.prompt is not None and (way.prompt.system or way.prompt.system_file) is not None
    if way.kind in {"refine", "tree"} and system:
        yield f"the prompt of {way.kind} is a turn of the stage's conversation: it has no system part of its own"
