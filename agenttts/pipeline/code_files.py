"""A program of several files, as models write one: the name of each file, then its text in a fence.

Source: Qian et al. 2023, arXiv:2307.07924 (ChatDev), whose prompts ask for `FILENAME`, then a fenced block, and whose
`chatdev/codes.py` takes the last `word.word` before a block as its name. Departures: folders and the case of names are
kept; what follows the name of a file on its line is no name; a block that holds `__main__` becomes main.py only where it
has no name of its own; blank lines are kept; names also count where today's models put them (beside the fence's
language, in a comment on the first line). Names are hostile: those that lead out of the folder name nothing.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FENCE", "MAIN", "as_files", "code_files", "files_text", "is_safe_name", "python_tree"]

MAIN = "main.py"
MOST_FILES = 100
"""Later ones are left out."""
LONGEST_NAME = 120
"""Characters, folders included."""
FENCE = re.compile(
    r"^[^\S\n]*```[^\S\n]*([\w+#.-]*)([^\n]*)\n(.*?)(?:^[^\S\n]*```|\Z)", re.DOTALL | re.MULTILINE
)
"""Groups: the language, what else stands on its line, the text. A block that is not closed reaches to the end."""

_PART = r"[\w-][\w.-]*"
_NAME = rf"(?:{_PART}/)*{_PART}"
_SAFE = re.compile(rf"(?:{_PART}/){{0,8}}{_PART}")
_ALONE = re.compile(
    rf"(?:[#>*_`'\"\s-]|\d+[.)]|file(?:\s?name)?\s*:)*(?:\./)?({_NAME}\.[A-Za-z]\w*)[*_`'\"\s:]*",
    re.IGNORECASE,
)
"""A line that is the name of a file, whatever stands around it."""
_INSIDE = re.compile(
    rf"(?<![\w./\\:~-])(?:\./)?({_NAME}\.(?:py|txt|md|json|csv|html|css|js|ya?ml|toml|ini|cfg|sql|sh))(?![\w/\\])",
    re.IGNORECASE,
)
_COMMENT = re.compile(rf"\s*(?:#|//)\s*(?:file(?:name)?\s*:\s*)?(?:\./)?({_NAME}\.py)\s*", re.IGNORECASE)
_CLASS = re.compile(r"^class\s+(\w+)", re.MULTILINE)
_PYTHON = frozenset({"", "py", "python", "python3"})


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    name: str | None
    code: str


def code_files(text: str) -> dict[str, str] | None:
    """Return the files that a text holds, by name; `None` where it holds none.

    Of files of the same name the last counts. A lone block without a name is main.py; of several, one that holds
    `__main__` is, others are named after their last class, and those without one are left out.
    """
    blocks = [block for block in _blocks(text) if block.code.strip()]
    lone = len(blocks) == 1
    files: dict[str, str] = {}
    for block in blocks:
        guess = None if block.name else _unnamed(block, lone=lone)
        if guess is not None and guess not in files:  # what has a name is not replaced by what has none
            files[guess] = block.code
        elif block.name:
            files[block.name] = block.code
    return dict(list(files.items())[:MOST_FILES]) or None


def is_safe_name(name: Any) -> bool:
    """Tell whether a name means a file in the folder that it is written to, or in a folder of that one."""
    return isinstance(name, str) and len(name) <= LONGEST_NAME and _SAFE.fullmatch(name) is not None


def as_files(answer: Any) -> dict[str, str]:
    """Return the files of an answer: a mapping of names to texts, or a text, which is main.py or holds blocks.

    Names that are not safe, and texts that are none, are left out.
    """
    if isinstance(answer, str):
        # A program as it stands may hold fences within its own texts.
        found = code_files(answer) if python_tree(answer) is None else None
        return found or ({MAIN: answer} if answer.strip() else {})
    if not isinstance(answer, Mapping):
        return {}
    named = ((name, text) for name, text in answer.items() if is_safe_name(name) and isinstance(text, str))
    return dict(list(named)[:MOST_FILES])


def python_tree(source: str) -> ast.Module | None:
    """Return the syntax tree of a Python program that a model wrote; `None` where it is none of this Python's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of odd escapes in it, which are not ours to mend
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def files_text(files: Mapping[str, str]) -> str:
    """Return files as a text in ChatDev's format, which `code_files` reads back.

    >>> print(files_text({"main.py": "print(1)"}))
    main.py
    ```python
    print(1)
    ```
    """
    return "\n\n".join(f"{name}\n```{_language(name)}\n{text.rstrip()}\n```" for name, text in files.items())


def _language(name: str) -> str:
    suffix = name.rpartition(".")[2]
    return "python" if suffix == "py" else suffix


def _blocks(text: str) -> Iterator[_Block]:
    end = 0
    for match in FENCE.finditer(text):
        language, rest, code = match.groups()
        yield _Block(
            language.casefold(), _name(text[end : match.start()], language, rest, code), code.rstrip()
        )
        end = match.end()


def _name(before: str, language: str, rest: str, code: str) -> str | None:
    """Return the name of a block: of the line before it, of the fence's own line, or of its first comment."""
    line = before.rstrip().rpartition("\n")[2][-1000:]
    alone = _ALONE.fullmatch(line)
    inside = [match[1] for match in _INSIDE.finditer(line)]
    beside = _INSIDE.search(f"{language}{rest}".replace(":", " ").replace("=", " "))
    comment = _COMMENT.fullmatch(code.partition("\n")[0][:200])
    names = [alone and alone[1], *inside[-1:], beside and beside[1], comment and comment[1]]
    return next((name for name in names if name and is_safe_name(name)), None)


def _unnamed(block: _Block, *, lone: bool) -> str | None:
    if block.language not in _PYTHON:
        return None
    if lone or "__main__" in block.code:
        return MAIN
    classes = _CLASS.findall(block.code)
    return f"{classes[-1].lower()}.py" if classes else None
