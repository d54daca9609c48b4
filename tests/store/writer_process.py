"""A process that puts draws until it is killed, and says after each put what has been promised: `stream index`."""

from __future__ import annotations

import asyncio
import sys

from agenttts.store.base import SampleStore
from agenttts.store.sql import open_store
from agenttts.testing.stores import draw, keep, request_for


async def write_stream(store: SampleStore, name: str, n: int) -> None:
    for index in range(n):
        await keep(store, request_for(name), draw(index), study=name)
        sys.stdout.write(f"{name} {index}\n")
        sys.stdout.flush()


async def main(url: str, prefix: str, n_streams: int, n: int) -> None:
    store = open_store(url)
    await asyncio.gather(*(write_stream(store, f"{prefix}{s}", n) for s in range(n_streams)))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
