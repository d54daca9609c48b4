"""Put before a program where the kernel offers nothing against network calls: makes Python's sockets unusable.

A program that calls the C library by itself gets around this, and the result of the run says so.
"""

import runpy
import sys


def _refuse(event: str, _: object) -> None:
    if event.startswith("socket."):
        raise PermissionError("programs have no network here")


if __name__ == "__main__":
    del sys.argv[0]
    sys.addaudithook(_refuse)
    runpy.run_path(sys.argv[0], run_name="__main__")
