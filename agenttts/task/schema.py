"""The schema of task.yaml: one typed model per block, defaults and units beside the fields.

Shape only: names that must exist elsewhere (models, fields, stages), files and templates are checked in
`agenttts.task.checks`, and line numbers are added in `agenttts.task.reading`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.models.base import SamplingParameters
from agenttts.task.options import Block as _Block
from agenttts.task.options import Count, SamplesRange, SharedByBlock, WhenBlock
from agenttts.task.prompting import ModeBlock, PromptBlock, SamplingBlock
from agenttts.task.ways import NEEDS_GOLD, CriticBlock, SelectBlock, StageTestBlock, VerifierBlock

__all__ = [
    "BudgetBlock",
    "CriticBlock",
    "DataBlock",
    "FieldBlock",
    "FinalScoreBlock",
    "ModeBlock",
    "ParseBlock",
    "PlannerBlock",
    "PromptBlock",
    "SamplesRange",
    "SamplingBlock",
    "SelectBlock",
    "SharedByBlock",
    "SplitBlock",
    "SplitsBlock",
    "StageBlock",
    "StageScoreBlock",
    "StageTestBlock",
    "TaskFile",
    "VerifierBlock",
    "WhenBlock",
    "sampling_parameters",
]

FORMAT = 1
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
ModeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ParseBlock(_Block):
    """How a completion becomes an answer. In YAML a bare word is short for `{rule: word}`."""

    rule: Literal[
        "text",
        "regex",
        "regex_all",
        "json",
        "last_number",
        "numbers",
        "short_answer",
        "choice",
        "boxed",
        "lines",
        "code_block",
        "files",
        "function",
    ] = "text"
    pattern: str | None = None
    """`regex`, `regex_all`: Python regular expression; the first group, or the whole match."""
    path: str | None = None
    """`json`: dotted path into the first JSON value of the completion, e.g. `answer.items.0`; `None`: the value."""
    choices: tuple[str, ...] | None = None
    """`choice`: the labels, e.g. [A, B, C, D]."""
    label: str | None = None
    """`numbers`: the word before the list, e.g. `Passages` for `Passages: [3], [17]`; a completion that is a list and
    nothing else needs none. `None`: the numbers of the whole completion. `short_answer`: the word before the answer;
    `None`: `Answer`."""
    language: str | None = None
    """`code_block`: only blocks of this language."""
    which: Literal["first", "last"] = "last"
    """Which match counts, for `regex`, `choice`, `boxed` and `code_block`."""
    function: str | None = None
    """`function`: `file.py:name` beside the task file, or `module:name`; called with the text. Needs `--trust`."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> ParseBlock:
        needed = {"regex": "pattern", "regex_all": "pattern", "choice": "choices", "function": "function"}
        key = needed.get(self.rule)
        if key is not None and not getattr(self, key):
            raise ValueError(f"rule {self.rule} needs `{key}`")
        return self


class FieldBlock(_Block):
    """A field of a problem that is made of another one. In YAML a bare word is short for `{from: word}`."""

    source: str = Field(alias="from")
    """Dotted path of the field as the source has it."""
    parse: ParseBlock | None = None
    """How its text is read, by the rules for completions (what is no text is read as JSON text); `None`: as it is."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"from": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        data["from"] = data.pop("source")
        return data


class DataBlock(_Block):
    """Where problems come from: a file or a Hugging Face data set."""

    path: str | None = None
    """File, relative to the task file: .jsonl, .csv or .parquet, each also .gz."""
    dataset: str | None = None
    """Name of a Hugging Face data set, loaded through `datasets`."""
    config: str | None = None
    revision: str | None = None
    split: str | None = None
    """Split of the data set."""
    id: str | None = None
    """Field that identifies a problem; `None`: `row-<number>` (`search-row-` and `test-row-` with two sources), and
    problems are told apart by their contents."""
    fields: dict[str, FieldBlock] = {}
    """Fields made of the source's, before anything else sees a row; one that has the name of a column replaces it."""

    @model_validator(mode="after")
    def _one_source(self) -> DataBlock:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("expected either `path` or `dataset`")
        return self


class SplitBlock(_Block):
    """Which problems belong to a split."""

    n: Count | None = None
    """How many, drawn without replacement by the seed; `None`: all that `where` leaves (for `search` at most half of
    them when `test` has no `where` and no data of its own)."""
    where: dict[str, Any] = {}
    """Field values that a row must have, e.g. `{split: dev}`."""
    data: DataBlock | None = None
    """Own source; `None`: the task's."""


class SplitsBlock(_Block):
    """Search and test problems. The test split is sealed until `evaluate` and the final confirmation."""

    search: SplitBlock = SplitBlock()
    test: SplitBlock = SplitBlock()
    seed: int = 0


class StageScoreBlock(_Block):
    """How a stage's answer is scored against gold."""

    verifier: VerifierBlock
    gold: str | None = None
    """Dotted path of the problem field that holds the gold answer (a list means: any of them, or the set)."""

    @model_validator(mode="after")
    def _gold(self) -> StageScoreBlock:
        if self.verifier.kind in NEEDS_GOLD and self.gold is None:
            raise ValueError(f"verifier {self.verifier.kind} needs `gold`")
        if several := self.verifier.knobs:
            raise ValueError(f"`{several[0]}` of what scores takes one value")
        return self


class FinalScoreBlock(StageScoreBlock):
    """How a problem is scored in the end."""

    stage: str | None = None
    """Whose answer is scored; `None`: the last stage's."""


class LengthsBlock(_Block):
    """Expected tokens per call, for quotes before anything was drawn; learnt from draws afterwards."""

    prefill_tokens: Annotated[float, Field(gt=0)] | None = None
    decode_tokens: Annotated[float, Field(gt=0)] | None = None
    steps: Annotated[float, Field(gt=0)] | None = None
    """Steps of a completion, for searches over steps."""


class StageBlock(_Block):
    """One stage: an LLM step (`prompt`, `models`, ...), a Python function (`function`) or a test (`test`)."""

    needs: tuple[str, ...] = ()
    """Stages whose answers this one uses."""
    when: WhenBlock | None = None
    """`None`: it runs on every problem."""
    otherwise: str | None = None
    """One of `needs`: the stage runs on the problems that this one was not run on and so left without an answer (see
    `WhenBlock`); on all others it costs nothing and passes that stage's answer on."""
    pool: bool = False
    """With `when`: votes are taken over the samples of the watched stage and its own together, the watched first."""
    shared_by: SharedByBlock | None = None
    """`None`: it runs for every problem."""
    optional: bool = False
    """With `shared_by`: whether the search may leave the stage out; its answer is then the empty text."""
    function: str | None = None
    """`file.py:name` beside the task file, or `module:name`; called with (problem fields, answers by stage), returns
    the answer. Needs `--trust`. A function stage has no other key than `needs`, `score` and this one."""
    test: StageTestBlock | None = None
    """What is run on the answer of another stage. A test stage has no other key than `needs`, `score` and this one."""
    prompt: PromptBlock | None = None
    models: tuple[str, ...] = ()
    """Card names to choose from."""
    modes: dict[ModeName, ModeBlock] = {}
    """Ways to ask the models, e.g. `{quick: {max_tokens: 500}, deep: {extra: {reasoning_effort: high}}}`. With modes,
    the choice is among `model@mode` for every model and mode; a recorded card draws from its variant of that name."""
    n_samples: tuple[Count, ...] | SamplesRange = (1,)
    sampling: SamplingBlock = SamplingBlock()
    parse: ParseBlock = ParseBlock()
    select: tuple[SelectBlock, ...] = (SelectBlock(kind="majority"),)
    """Ways to choose from; in YAML also a single one."""
    score: StageScoreBlock | None = None
    lengths: LengthsBlock = LengthsBlock()

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            value = dict(value)
            if isinstance(value.get("select"), str | dict):
                value["select"] = [value["select"]]
            if isinstance(value.get("n_samples"), int):
                value["n_samples"] = [value["n_samples"]]
        return value

    # A least length of the list would be told beside each mistake in an entry.
    @field_validator("n_samples", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and not value:
            raise ValueError("expected a whole number of at least 1, or a list of them, got an empty list")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> StageBlock:
        if self.asks_model and (self.prompt is None or not self.models):
            raise ValueError("expected `prompt` and `models` (an LLM stage), `function` or `test`")
        extra = self.model_fields_set - self.allowed_keys
        if extra:
            kind = "function" if self.function is not None else "test"
            raise ValueError(f"a {kind} stage takes no {', '.join(sorted(extra))}")
        if self.pool and self.when is None:
            raise ValueError("`pool` needs `when`, which names the stage to vote together with")
        stops = self.sampling.stop or any(mode.stop for mode in self.modes.values())
        if stops and any(way.kind in {"beam", "dvts"} for way in self.select):
            raise ValueError(
                "`stop` ends a reply, and beam and dvts could not tell its end from that of a step"
            )
        if self.optional and self.shared_by is None:
            raise ValueError("`optional` is for stages with `shared_by`")
        if self.shared_by is not None and (self.when is not None or self.otherwise is not None):
            raise ValueError(
                "a stage with `shared_by` runs once per context: it takes no `when` and no `otherwise`"
            )
        return self

    @property
    def asks_model(self) -> bool:
        """Whether it is an LLM stage: it is chosen for and costs something, unlike functions and tests."""
        return self.function is None and self.test is None

    @property
    def allowed_keys(self) -> frozenset[str]:
        """Keys that a stage of this kind may have."""
        if self.asks_model:
            return frozenset(type(self).model_fields)
        return frozenset({"needs", "score", "test" if self.function is None else "function"})

    @property
    def routed(self) -> bool:
        """Whether the answer of another stage decides which problems are sent here."""
        return self.otherwise is not None or (self.when is not None and self.when.measure == "answer")

    @property
    def ways(self) -> tuple[SelectBlock, ...]:
        """Ways to select to choose from, one for each combination of the values of knobs."""
        return tuple(way for block in self.select for way in block.ways)

    def kind_of(self, label: str) -> str:
        """Return the kind of the way of that label; of one that the stage does not list, such as `first`, the label."""
        return next((way.kind for way in self.ways if way.name == label), label)

    @property
    def variants(self) -> tuple[str, ...]:
        """What `StageChoice.model` may be: the models, or with modes every `model@mode`."""
        models = [f"{model}@{mode}" for model in self.models for mode in self.modes] or list(self.models)
        return tuple(dict.fromkeys(models))

    @property
    def votes_tell(self) -> bool:
        """Whether the votes of samples tell what a way of this stage will cost."""
        return any(way.kind == "adaptive_vote" or way.kind == "cascade" for way in self.select)

    def sampling_of(self, variant: str) -> SamplingBlock:
        """Return how a model draws here: with modes, that of the mode which its name ends in."""
        mode = self.modes.get(variant.rpartition("@")[2]) if "@" in variant else None
        return self.sampling if mode is None else mode.applied(self.sampling)

    def decode_tokens_of(self, variant: str) -> float | None:
        """Return the expected tokens of a completion; `None` where the task does not say."""
        mode = self.modes.get(variant.rpartition("@")[2]) if "@" in variant else None
        return (mode.decode_tokens if mode is not None else None) or self.lengths.decode_tokens

    @property
    def sample_counts(self) -> tuple[int, ...]:
        """Numbers of samples to choose from, rising, without repeats."""
        if isinstance(self.n_samples, SamplesRange):
            return self.n_samples.counts
        return tuple(sorted(set(self.n_samples)))


class BudgetBlock(_Block):
    """The budget per problem, charged."""

    unit: Unit = Unit.GFLOPS
    default: Annotated[float, Field(gt=0)] | None = None
    """Used where `--budget` is not given."""


class PlannerBlock(_Block):
    """The model that allocators such as `agent` ask for advice. In YAML a bare word is short for `{model: word}`."""

    model: str
    """Card name; any card, also one that no stage uses."""
    temperature: Annotated[float, Field(ge=0)] | None = 0.7
    """`null`: not sent, for endpoints that refuse it."""
    max_tokens: Count | None = None
    """Of one reply, reasoning included; `null`: as the allocator asks for."""
    extra: dict[str, Any] = {}
    """Further fields of the request, sent as they are."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class TaskFile(_Block):
    """A whole task.yaml."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    data: DataBlock
    splits: SplitsBlock = SplitsBlock()
    models: dict[str, ModelCard] = {}
    """Cards of this task alone, by name; they come before those of the project and of the catalogue."""
    stages: Annotated[dict[Name, StageBlock], Field(min_length=1)]
    """In the order of running; `needs` may only name stages of this mapping."""
    score: FinalScoreBlock
    measures: dict[Name, FinalScoreBlock] = {}
    """Further figures by name, told beside the score with their intervals; nothing is searched by them."""
    budget: BudgetBlock = BudgetBlock()
    planner: PlannerBlock | None = None
    """`None`: no planner, unless the command line names one."""

    def passed_on(self, stage: str) -> str | None:
        """Return the stage whose answer stands where this one's `when` fails; `None`: it has no `when`."""
        when = self.stages[stage].when
        if when is None:
            return None
        test = self.stages[when.stage].test
        return when.stage if test is None else test.stage

    def root(self, stage: str) -> str | None:
        """Return the LLM stage that runs on every problem and decides, through conditions and tests, what comes here.

        `None`: no model has a part in it.
        """
        block = self.stages[stage]
        if block.test is not None:
            return self.root(block.test.stage)
        if not block.asks_model:
            return next((root for need in block.needs if (root := self.root(need)) is not None), None)
        decides = block.when.stage if block.when is not None else block.otherwise
        return stage if decides is None else self.root(decides)

    def settings_before(self, stage: str) -> tuple[str, ...]:
        """Return the stages that a problem was not sent to when it comes to this one, in the order of asking."""
        found: list[str] = []
        name = self.stages[stage].otherwise
        while name is not None and name not in found:
            found.insert(0, name)
            name = self.stages[name].otherwise
        return tuple(found)

    @property
    def rated(self) -> dict[str, str]:
        """Stage that problems are sent to by a rating or a test -> the LLM stage that this hangs on."""
        whens = {name: block.when for name, block in self.stages.items() if block.when is not None}
        return {
            name: root
            for name, when in whens.items()
            if when.measure in {"answer", "score"} and (root := self.root(when.stage)) is not None
        }

    @property
    def watched(self) -> dict[str, str]:
        """Stage that runs on a condition -> the LLM stage whose agreement, score, answer or tested answer decides.

        Where that one runs on a condition itself, the one before it that runs always (see `root`).
        """
        found = {}
        for name, block in self.stages.items():
            deciding = [block, *(self.stages[other] for other in self.settings_before(name))]
            whens = [one.when for one in deciding if one.when is not None]
            root = self.root(whens[0].stage) if whens else None
            if root is not None:
                found[name] = root
        return found

    @model_validator(mode="before")
    @classmethod
    def _card_names(cls, value: Any) -> Any:
        """Give each inline card the name of its key."""
        if isinstance(value, dict) and isinstance(value.get("models"), dict):
            cards = {
                key: {**card, "name": str(key)} if isinstance(card, dict) else card
                for key, card in value["models"].items()
            }
            return {**value, "models": cards}
        return value


def sampling_parameters(block: SamplingBlock) -> SamplingParameters:
    """Return the sampling parameters of a `sampling` block."""
    return SamplingParameters(
        temperature=block.temperature,
        max_tokens=block.max_tokens,
        top_p=block.top_p,
        stop=block.stop,
        seed=block.seed,
        logprobs=block.logprobs,
        extra=tuple((name, json.dumps(block.extra[name], sort_keys=True)) for name in sorted(block.extra)),
    )
