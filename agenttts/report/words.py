"""Figures in words, wherever they are shown: amounts, shares, counts, costs. Pure; what is unknown is said to be."""

from __future__ import annotations

from agenttts.budgets.cost import Cost, plain_digits

__all__ = [
    "amount_text",
    "chance_text",
    "cost_text",
    "count_text",
    "cut",
    "listed",
    "plural",
    "sentence",
    "share_text",
]


def amount_text(value: float) -> str:
    """Return an amount with four significant digits, or all digits before the point: `1,234,567`, `0.01234`."""
    return plain_digits(value, 4)


def share_text(share: float) -> str:
    """Return a share in per cent: `66%`; below 1 % with one significant digit: `0.4%`."""
    per_cent = 100 * share
    return f"{plain_digits(per_cent, 1)}%" if 0 < per_cent < 1 else f"{per_cent:.0f}%"


LEAST_CHANCE = 0.001
"""A fit knows no chances more exactly than that."""


def chance_text(chance: float) -> str:
    """Return a chance by a fit in per cent: `12%`, `below 0.1%`."""
    return share_text(chance) if chance >= LEAST_CHANCE else f"below {share_text(LEAST_CHANCE)}"


def count_text(value: float) -> str:
    """Return a count, e.g. of tokens: `1,234`."""
    return f"{value:,.0f}"


def plural(n: int, one: str) -> str:
    """Return `1 draw`, `2 draws`."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def cost_text(cost: Cost) -> str:
    """Return FLOPs, USD and tokens; what is unknown is said to be."""
    flops = "FLOPs unknown" if cost.flops is None else f"{amount_text(cost.flops / 1e9)} GFLOPs"
    usd = "USD unknown" if cost.usd is None else f"{amount_text(cost.usd)} USD"
    read, written = count_text(cost.prefill_tokens), count_text(cost.decode_tokens)
    return f"{flops}; {usd}; tokens {read} read, {written} written"


def listed(words: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)


def cut(text: str, most: int) -> str:
    """Return a text that is no longer than `most` characters; what is missing is marked."""
    return text if len(text) <= most else f"{text[: most - 2]} …"


def sentence(text: str) -> str:
    """Return a text as a sentence: it begins with a capital letter and has an end; empty stays empty."""
    told = text.strip()
    if not told:
        return ""
    return f"{told[0].upper()}{told[1:]}{'' if told[-1] in '.!?' else '.'}"
