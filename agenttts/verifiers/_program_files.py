"""Runs in the sandbox in place of a program of several files: writes them into the empty folder and becomes the first.

The sandbox puts the names, texts and the file to run in place of the words below. Standard library only.
"""

import json
import sys
import traceback
from pathlib import Path

FILES, START = json.loads("@FILES@")


def _without_this_file(kind: type, error: BaseException, trace: object) -> None:
    traceback.print_exception(kind, error, getattr(trace, "tb_next", None))


def _write() -> bytes:
    for name, text in FILES.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return Path(START).read_bytes()


SOURCE = _write()
sys.path.insert(0, str(Path(START).resolve().parent))
sys.argv[:] = [START]
sys.excepthook = _without_this_file
__file__ = START
# In this module's own names, which are those of `__main__`, so that a program can pickle what it defines.
exec(compile(SOURCE, START, "exec"), globals())  # noqa: S102 - that is what it is for
