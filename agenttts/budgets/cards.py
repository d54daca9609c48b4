"""Model cards: what a model is, what it costs and where it is served. Values and their checks; loading is elsewhere.

Files: `budgets/models/*.yaml` of the catalogue or of the user's project, or the block `models:` of a task.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["TINY_PRM", "EmbeddingBlock", "ModelCard", "Price", "RewardBlock", "Speed"]

TINY_PRM = "tiny/prm"
"""The reward model of the tiny family."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Price(_Block):
    """USD per million tokens."""

    input_per_million_usd: NotNegative
    output_per_million_usd: NotNegative
    cached_input_per_million_usd: NotNegative | None = None
    """`None`: as `input_per_million_usd`."""
    as_of: str | None = None
    """Date and source of the figures."""


class Speed(_Block):
    """Tokens per second of one request, for the unit `seconds` and for quotes."""

    prefill_tokens_per_s: Positive
    decode_tokens_per_s: Positive


class RewardBlock(_Block):
    """How a reward model is asked, and what its reply means. All of it is part of the identity of its scores."""

    api: Literal["pooling", "classify", "score", "json"]
    """`pooling`, `classify`, `score`: those of vLLM; `json`: any endpoint that takes and gives JSON."""
    scores: Literal["answer", "steps"] = "answer"
    """Whether a reply holds one score of the whole answer (for `kind: orm`) or one per step (`kind: prm`)."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What makes a score in [0, 1] of a row of the reply, where the server gives logits."""
    good_column: Annotated[int, Field(ge=0)] | None = None
    """Column of a row that says how good it is, counted from 0; `None`: the last one."""
    judges_whole: bool = False
    """With `scores: steps`: one more score follows those of the steps, that of the whole answer."""

    separator: Annotated[str, Field(min_length=1)] = "\n\n"
    """What stands between two steps of an answer; a verifier's own `separator` comes before it."""
    tag: str = ""
    """Put after each step, e.g. `<extra_0>`; empty: the answer is sent as it is written."""
    between: str = ""
    """Put between a tag and the next step."""
    empty_steps: Literal["drop", "keep"] = "drop"
    """What becomes of steps of white space alone."""

    system: str | None = None
    """`pooling`, `classify`: system message in front of the prompt; `None`: that of the server's chat template."""
    extra: dict[str, Any] = {}
    """Further fields of the request, e.g. `use_activation: false`."""
    path: str | None = None
    """Path after `base_url`; `None`: `/pooling`, `/classify`, `/score`, and nothing for `json`."""

    request: str | None = None
    """`json`: the request as a Jinja template in which `{{ prompt }}`, `{{ text }}`, `{{ steps }}` and `{{ model }}` are
    written as JSON, quotes included, e.g. `{"question": {{ prompt }}, "steps": {{ steps }}}`."""
    scores_at: str | None = None
    """`json`: dotted path to the scores in the reply; a number counts from 0, `*` stands for all items of a list."""
    tokens_at: str = "usage.prompt_tokens"
    """`json`: dotted path to the tokens read."""

    @model_validator(mode="after")
    def _complete(self) -> RewardBlock:
        is_json, by_step = self.api == "json", self.scores == "steps"
        if is_json and (self.request is None or self.scores_at is None):
            raise ValueError("api json needs `request` and `scores_at`")
        if not is_json and (self.request is not None or self.scores_at is not None):
            raise ValueError("`request` and `scores_at` are read by api json alone")
        if by_step and self.api in {"classify", "score"}:
            raise ValueError(f"api {self.api} gives one score; steps are judged by api pooling or json")
        if by_step and self.api == "pooling" and not self.tag:
            raise ValueError("steps are judged by api pooling at a `tag` after each step, e.g. <extra_0>")
        if self.judges_whole and not by_step:
            raise ValueError("`judges_whole` is read with `scores: steps` alone")
        return self


class EmbeddingBlock(_Block):
    """How an embedding model is asked. All of it but `batch` is part of the identity of its vectors."""

    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Length of the vectors, where the model lets one choose it; `None`: the model's own."""
    max_input_tokens: Annotated[int, Field(ge=1)] | None = None
    """The most that the model reads, by the card's `token_counter`: a longer text is cut, and the score says so. `None`:
    texts are sent whole, and one that the server refuses is unscored."""
    batch: Annotated[int, Field(ge=1)] = 1
    """Most texts in one request. The server reports one sum for all of them, which is split by `token_counter`, so more
    than 1 wants a counter that is exact; with 1, every text has its own bill."""
    extra: dict[str, Any] = {}
    """Further fields of the request, e.g. `truncate_prompt_tokens: 512` of vLLM."""


class ModelCard(_Block):
    """One model as one endpoint serves it."""

    name: str
    """Name in task files, plans and reports, e.g. `qwen2.5-7b`. In YAML it is the key of the card."""
    source: Literal["tiny", "openai", "litellm", "recorded", "reward", "embedding"]
    """`tiny`: in-process; `openai`: any OpenAI-compatible endpoint; `litellm`: every other provider;
    `recorded`: a table of recorded draws; `reward`: a reward model over HTTP, asked as `reward` says; `embedding`: a
    model that makes vectors of texts, behind `/embeddings` of an OpenAI-compatible endpoint."""
    model_id: str | None = None
    """The name that the endpoint knows; `None`: the name of the card."""
    base_url: str | None = None
    """For `openai`, `embedding` (and, where wanted, `litellm`); `None`: the provider's own, or `OPENAI_BASE_URL`. For
    `reward`; `None`: http://127.0.0.1:8000, where vLLM serves."""
    api_key_env: str | None = None
    """Environment variable that holds the key; `None`: `OPENAI_API_KEY` for `openai` and `embedding`, the provider's own for
    `litellm`, no key for `reward`. The key itself never stands in a file."""
    table: str | None = None
    """For `recorded`: path of the CSV or Parquet table (also gzipped)."""
    reward: RewardBlock | None = None
    """For `reward`."""
    embedding: EmbeddingBlock | None = None
    """For `embedding`; `None`: its defaults."""

    parameters: Positive | None = None
    active_parameters: Positive | None = None
    """Parameters used per token, for mixtures of experts; `None`: all."""
    nominal_parameters: Positive | None = None
    """The size that the model goes by (3e9 for a 3B model of 3.21e9; of a mixture of experts the size used per token).
    Only the unit `paper` counts it, for the paper does; `None`: the parameters used per token."""
    layers: Annotated[int, Field(gt=0)] | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    """Width of attention: heads times size of a head, which is the hidden size in most models. With `layers` it adds
    attention to the FLOPs."""
    shares_prefill: bool = True
    """The endpoint reads a prompt once for all samples of one request (prefix caching or `n=`)."""
    price: Price | None = None
    speed: Speed | None = None
    figures_from: str | None = None
    """Source of the figures above."""

    max_n: Annotated[int, Field(ge=1)] = 1
    """Most choices that one request may ask for (`n=`). 1: one request per sample, safe everywhere."""
    supports_seed: bool = True
    continues_replies: bool = False
    """The endpoint can go on from the beginning of a reply (a last message of the assistant, vLLM's and SGLang's
    `continue_final_message`): needed by searches over steps."""
    supports_json_schema: bool = False
    """The endpoint takes a JSON schema as `response_format`; asked for by planners, who check replies all the same."""
    max_concurrency: Annotated[int, Field(ge=1)] = 16
    """Requests in flight to this card's endpoint."""
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    timeout_s: Positive = 120.0
    """Deadline of one attempt."""
    max_attempts: Annotated[int, Field(ge=1)] = 6
    token_counter: str = "chars/4"  # noqa: S105 - counts tokens of text, no secret
    """Counter used where the server gives no usage, and to split a total over several choices."""

    @model_validator(mode="after")
    def _asked_as_its_source(self) -> ModelCard:
        if self.source == "reward" and self.reward is None:
            raise ValueError(
                "source reward needs `reward`, which says how the model is asked, e.g. {api: classify}"
            )
        if self.source != "reward" and self.reward is not None:
            raise ValueError("`reward` is read with `source: reward` alone")
        if self.source != "embedding" and self.embedding is not None:
            raise ValueError("`embedding` is read with `source: embedding` alone")
        return self

    @property
    def judges(self) -> Literal["answer", "steps", "texts"] | None:
        """What a model that only reads looks at: reward models at answers or steps; `None`: the model writes."""
        if self.source == "embedding":
            return "texts"
        if self.reward is not None and self.source == "reward":
            return self.reward.scores
        return "steps" if self.source == "tiny" and self.served_as == TINY_PRM else None

    @property
    def served_as(self) -> str:
        """The name sent to the endpoint."""
        return self.model_id or self.name

    @property
    def n_active(self) -> float | None:
        """Parameters used per token."""
        return self.active_parameters or self.parameters

    @property
    def n_nominal(self) -> float | None:
        """Parameters used per token as the unit `paper` counts them."""
        return self.nominal_parameters or self.n_active
