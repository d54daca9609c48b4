"""Texts that others wrote, set off in prompts so that they cannot pass for instructions.

A fence is named after a digest of what stands in it, so a text cannot close its own fence: it would have to hold its
own digest. What could hide from a reader, or mean something to a chat template, is made visible or broken up.

What remains: a text can still talk a model into something by plain words, as it can a person, and tokens that mark turns
in templates unknown to us stay as they are. A reply that is asked of the model is therefore always checked as well.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Fence", "clean"]

_JOINERS = frozenset("\u200c\u200d")
"""Characters of the class of invisible ones that words of some scripts, and emoji, are written with."""
_TURNS = re.compile(
    r"<(?=[|｜][\w▁ -]{1,40}[|｜]>)|<(?=/?(?:start_of_turn|end_of_turn|s|bos|eos)>)|\[(?=/?INST\])|<(?=<SYS>>|</SYS>>)"
)
"""What begins a turn in the chat templates of Qwen, Llama 2 and 3, DeepSeek, Gemma, Mistral and their like: servers read
such words in a message as the marks themselves."""


def clean(text: str) -> str:
    """Return a text without what is invisible or marks turns; line breaks and tabs stay.

    Control characters, lone surrogates and characters without a width become `\ufffd`; marks of turns get a space after
    their first character.
    """
    seen = "".join("\ufffd" if _is_hidden(char) else char for char in text.replace("\r\n", "\n"))
    return _TURNS.sub(lambda found: f"{found[0]} ", seen)


def _is_hidden(char: str) -> bool:
    if char.isascii():
        return not (char.isprintable() or char in "\n\t")
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char not in _JOINERS


@dataclass(frozen=True)
class Fence:
    """Sets off texts of one prompt."""

    mark: str
    """12 hexadecimal digits that stand in every fence of the prompt, and in none of its texts."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Fence:
        """Return the fence for some texts; their order does not matter."""
        together = "\0".join(sorted(texts))
        digest = hashlib.sha256(together.encode("utf-8", "surrogatepass")).hexdigest()
        while digest[:12] in together:
            digest = hashlib.sha256(digest.encode()).hexdigest()
        return cls(digest[:12])

    def around(self, name: str, text: str) -> str:
        """Return a text between `<name mark>` and `</name mark>`, each on a line of its own."""
        return f"<{name} {self.mark}>\n{clean(text)}\n</{name} {self.mark}>"
