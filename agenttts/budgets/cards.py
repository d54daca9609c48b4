"""Model cards: what a model is, what it costs and where it is served. Values and their checks; loading is elsewhere.

Files: `budgets/models/*.yaml` of the catalogue or of the user's project, or the block `models:` of a task.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ModelCard", "Price", "Speed"]

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


class ModelCard(_Block):
    """One model as one endpoint serves it."""

    name: str
    """Name in task files, plans and reports, e.g. `qwen2.5-7b`. In YAML it is the key of the card."""
    source: Literal["tiny", "openai", "litellm", "recorded"]
    """`tiny`: in-process; `openai`: any OpenAI-compatible endpoint; `litellm`: every other provider;
    `recorded`: a table of recorded draws."""
    model_id: str | None = None
    """The name that the endpoint knows; `None`: the name of the card."""
    base_url: str | None = None
    """For `openai` (and, where wanted, `litellm`); `None`: the provider's own, or `OPENAI_BASE_URL`."""
    api_key_env: str | None = None
    """Environment variable that holds the key; `None`: `OPENAI_API_KEY` for `openai`, the provider's own for
    `litellm`. The key itself never stands in a file."""
    table: str | None = None
    """For `recorded`: path of the CSV or Parquet table (also gzipped)."""

    parameters: Positive | None = None
    active_parameters: Positive | None = None
    """Parameters used per token, for mixtures of experts; `None`: all."""
    layers: Annotated[int, Field(gt=0)] | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    """Hidden size. With `layers` it adds attention to the FLOPs."""
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

    @property
    def served_as(self) -> str:
        """The name sent to the endpoint."""
        return self.model_id or self.name

    @property
    def n_active(self) -> float | None:
        """Parameters used per token."""
        return self.active_parameters or self.parameters
