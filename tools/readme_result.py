"""Run the README's first command and put its real output into the README, between the two marks.

    python tools/readme_result.py          # in the checkout, after a change that moves numbers or words

Only the output block is replaced; the text around it explains lines, not figures.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- result -->\n```text\n).*?(\n```\n<!-- /result -->)", re.DOTALL)


def first_command(text: str) -> list[str]:
    """Return the `agenttts optimize ...` of the README's first command as arguments."""
    match = re.search(r"&& agenttts (optimize [^\n`]+)", text)
    if match is None:
        raise SystemExit("the README's first command was not found")
    return match.group(1).split()


def main() -> int:
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "agenttts", *first_command(text)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    new, n = BLOCK.subn(lambda match: match.group(1) + done.stdout.rstrip("\n") + match.group(2), text)
    if n != 1:
        raise SystemExit("the marks <!-- result --> were not found once")
    README.write_text(new, encoding="utf-8")
    print(done.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
