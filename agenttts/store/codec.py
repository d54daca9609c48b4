"""Samples, requests and bills as the text that a database keeps, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agenttts.models.base import CallUsage, Request, Sample

__all__ = ["request_text", "sample_body", "sample_from", "usage_from", "usage_text"]


def _dump(value: object) -> str:
    """Return compact JSON that every database can hold.

    JSON escapes NUL, which PostgreSQL refuses in text. Lone surrogates (half an emoji, cut off by a token limit) have
    no UTF-8 form; text that holds one is escaped throughout.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def request_text(request: Request) -> str:
    """Return what was asked, for people who look into the store; it is never read back."""
    return _dump(
        {
            "messages": [[message.role, message.content] for message in request.messages],
            "sampling": asdict(request.sampling),
            "stage": request.stage,
            "problem_id": request.problem_id,
            "place": request.place,
        }
    )


def sample_body(sample: Sample) -> str:
    """Return the parts of a sample that have no column of their own; what is empty is left out."""
    body: dict[str, Any] = {
        "text": sample.text,
        "finish_reason": sample.finish_reason,
        "counted_by": sample.counted_by,
    }
    if sample.cached_prefill_tokens:
        body["cached_prefill_tokens"] = sample.cached_prefill_tokens
    if sample.logprobs is not None:
        body["logprobs"] = sample.logprobs
    if sample.details:
        body["details"] = dict(sample.details)
    return _dump(body)


def sample_from(index: int, prefill_tokens: int, decode_tokens: int, body: str) -> Sample:
    """Read what `sample_body` wrote."""
    fields: Mapping[str, Any] = json.loads(body)
    logprobs = fields.get("logprobs")
    return Sample(
        index=index,
        text=fields["text"],
        finish_reason=fields["finish_reason"],
        prefill_tokens=prefill_tokens,
        decode_tokens=decode_tokens,
        cached_prefill_tokens=fields.get("cached_prefill_tokens", 0),
        counted_by=fields["counted_by"],
        logprobs=None if logprobs is None else tuple(logprobs),
        details=fields.get("details", {}),
    )


def usage_text(usage: CallUsage) -> str:
    """Return a bill as JSON."""
    return _dump(asdict(usage))


def usage_from(text: str) -> CallUsage:
    """Read what `usage_text` wrote."""
    fields = json.loads(text)
    return CallUsage(**{**fields, "decode_tokens": tuple(fields["decode_tokens"])})
