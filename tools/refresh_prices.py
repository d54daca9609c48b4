"""Compare the prices on model cards with the price map of the litellm that is installed.

    python tools/refresh_prices.py                 # tells differences; ends with 1 where there are any
    python tools/refresh_prices.py --write         # and writes the map's figures, with today's month, into the files
    python tools/refresh_prices.py mine.yaml ...   # other card files

Only prices whose `as_of` names an entry of the map are looked at: `as_of: ENTRY in the price map of litellm VERSION,
YEAR-MONTH`. An entry that is gone, or past the day on which its provider stops serving it, is told and left as it is:
which provider to take instead is for a person to say (the rule stands in the head of the card files).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from agenttts.budgets.cards import ModelCard, Price
from agenttts.budgets.loading import load_cards
from agenttts.budgets.prices import litellm_price, litellm_version, served_until

CARDS = Path(__file__).resolve().parent.parent / "budgets" / "models"
AS_OF = re.compile(r"^(?P<entry>\S+) in the price map of litellm (?P<version>\S+), (?P<month>\d{4}-\d{2})")
BLOCK = re.compile(r"^(?P<indent> +)price:\n(?:(?P=indent)  \S.*\n)+", re.MULTILINE)
FIGURES = ("input_per_million_usd", "output_per_million_usd", "cached_input_per_million_usd")

Lookup = Callable[[str], Price | None]


def entry_of(card: ModelCard) -> str | None:
    """Return the entry of the map that a card's price is from; `None` where it is from elsewhere."""
    match = AS_OF.match((card.price.as_of or "") if card.price else "")
    return match["entry"] if match else None


def differences(card: ModelCard, now: Price | None, until: date | None, today: date) -> Iterator[str]:
    """Yield what the map says otherwise about the entry that a card's price is from."""
    entry = entry_of(card)
    if entry is None or card.price is None:
        return
    if now is None:
        yield f"{card.name}: the map has no entry {entry} any more"
        return
    for figure in FIGURES:
        before, after = getattr(card.price, figure), getattr(now, figure)
        if before != after:
            yield f"{card.name}: {figure} is {_told(after)} now, {_told(before)} on the card ({entry})"
    if until is not None and until < today:
        yield f"{card.name}: {entry} was served until {until}"


def _told(figure: float | None) -> str:
    return "not given" if figure is None else f"{figure:g}"


def rewritten(text: str, lookup: Lookup, version: str, today: date) -> str:
    """Return a card file with the map's figures in each price that names an entry of it."""

    def block(match: re.Match[str]) -> str:
        found = re.search(r"as_of: (.*)", match[0])
        named = AS_OF.match(found[1]) if found else None
        price = lookup(named["entry"]) if named else None
        if named is None or price is None or found is None:
            return match[0]
        figures = [(name, getattr(price, name)) for name in FIGURES]
        note = found[1][named.end() :]
        lines = [f"{name}: {value:.9g}" for name, value in figures if value is not None]
        lines.append(f"as_of: {named['entry']} in the price map of litellm {version}, {today:%Y-%m}{note}")
        return f"{match['indent']}price:\n" + "".join(f"{match['indent']}  {line}\n" for line in lines)

    return BLOCK.sub(block, text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "files", nargs="*", type=Path, help="card files; those of the catalogue if none is given"
    )
    parser.add_argument("--write", action="store_true", help="write the map's figures into the files")
    options = parser.parse_args(arguments)
    files, today = options.files or sorted(CARDS.glob("*.yaml")), date.today()
    told = [
        line
        for card in load_cards(files=files).values()
        for entry in [entry_of(card) or ""]
        for line in differences(card, litellm_price(entry), served_until(entry), today)
    ]
    print("\n".join(told) or f"All prices are those of litellm {litellm_version()}.")
    if options.write:
        for file in files:
            text = file.read_text(encoding="utf-8")
            file.write_text(rewritten(text, litellm_price, litellm_version(), today), encoding="utf-8")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
