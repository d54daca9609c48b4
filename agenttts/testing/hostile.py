"""Eight programs that mean harm, and a host that notices: for tests of anything that runs what models wrote."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["HOSTILE", "Host", "hosting"]

PASSED = "ALL-TESTS-PASSED"

_MARK = """\
import ctypes, os
ctypes.CDLL(None).prctl(15, {mark!r}.encode(), 0, 0, 0)  # PR_SET_NAME; children inherit it
"""

HOSTILE = {
    "fork bomb": """\
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "endless print": """\
while True:
    print("x" * 1000)
""",
    "read of the home folder": """\
print(os.listdir({home!r}), open({home!r} + "/secret").read())
""",
    "network call": """\
import socket
with socket.create_connection(("127.0.0.1", {port}), timeout=2) as call:
    call.sendall(b"stolen")
print("connected")
""",
    "10 GB of memory": """\
held = []
for _ in range(100):
    held.append(b"x" * 100_000_000)
print("held", len(held))
""",
    "closed stdout": """\
for stream in (0, 1, 2):
    os.close(stream)
while True:
    pass
""",
    "symbolic link out of the folder": """\
os.symlink({home!r}, "link")
open("link/planted", "w").write("x")
""",
    "os._exit(0) before the tests": f"""\
print("{PASSED}", flush=True)
os._exit(0)
""",
}
"""Name -> program; `Host.program` fills in what it aims at."""


@dataclass
class Host:
    """What hostile programs aim at, and what reached it."""

    home: Path
    port: int
    mark: str = field(default_factory=lambda: "h" + secrets.token_hex(6))
    """Name of the programs' processes; at most 15 characters."""
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    n_connections: int = 0

    def program(self, name: str) -> str:
        """Return one of `HOSTILE`, aimed at this host."""
        return self.aimed(HOSTILE[name])

    def aimed(self, source: str) -> str:
        """Return a program whose processes can be counted, with `{home}` and `{port}` filled in."""
        filled = source.replace("{home!r}", repr(str(self.home))).replace("{port}", str(self.port))
        return _MARK.format(mark=self.mark) + filled

    def processes(self) -> list[int]:
        """Return the processes of the programs that are alive."""
        found = []
        for comm in Path("/proc").glob("[0-9]*/comm"):
            try:
                alive = "\nState:\tZ" not in (comm.parent / "status").read_text()
                if alive and comm.read_text().strip() == self.mark:
                    found.append(int(comm.parent.name))
            except OSError:
                continue
        return found

    def files(self) -> dict[str, str]:
        """Return the files of the home folder with what they hold."""
        return {str(path.relative_to(self.home)): path.read_text() for path in sorted(self.home.iterdir())}

    def left_behind(self, tmp: Path) -> list[str]:
        """Return sandboxes' folders in a folder for temporary files that was empty of them."""
        return sorted(path.name for path in tmp.iterdir())


@contextmanager
def hosting(home: Path) -> Iterator[Host]:
    """Open a host: a home folder with a secret in it, and a server on 127.0.0.1 that counts who connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = Host(home, server.getsockname()[1])
        (home / "secret").write_text(host.secret)
        counting = threading.Thread(target=_count, args=(server, host), daemon=True)
        counting.start()
        try:
            yield host
        finally:
            server.shutdown(socket.SHUT_RDWR)
            counting.join(5)


def _count(server: socket.socket, host: Host) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        host.n_connections += 1
        connection.close()
