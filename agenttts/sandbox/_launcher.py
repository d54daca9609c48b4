"""Started in place of the program: confines itself, tells what it could do, and becomes the program.

Under bubblewrap it is already in namespaces of its own and sets the limits only. Without bubblewrap a supervisor stays
outside, which ends the program and everything that it started: when the program ends, and when the caller closes the
control pipe, which happens too where the caller dies.

Runs as a script without site-packages, so it imports the standard library and `_kernel` beside it alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if TYPE_CHECKING:
    from agenttts.sandbox import _kernel
else:
    import _kernel

KILL_S = 5.0
"""How long the supervisor goes on killing what starts again."""


class Report:
    """What could be isolated and what could not, told to the caller through a pipe that the program does not get."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.has: list[str] = []
        self.lacks: list[str] = []

    def attempt(self, done: str, missing: str, *steps: Any) -> bool:
        """Take the steps, and note what is then isolated, or not."""
        try:
            for step in steps:
                step()
        except OSError:
            if missing:
                self.lacks.append(missing)
            return False
        self.has.append(done)
        return True

    def send(self, **message: Any) -> None:
        os.write(self.fd, (json.dumps(message) + "\n").encode())


def main() -> None:
    """Read the order (JSON, the only argument) and carry it out."""
    order = json.loads(sys.argv[1])
    report = Report(order["report_fd"])
    os.set_inheritable(report.fd, False)
    try:
        if order["control_fd"] is None:
            become_program(order, report)
        else:
            supervise(order, report)
    except Exception as error:
        report.send(failed=f"{type(error).__name__}: {error}")
        os._exit(125)


# --- without bubblewrap ---------------------------------------------------------------------------------------------


def supervise(order: dict[str, Any], report: Report) -> None:
    """Run the program as a child, end all that it started, and exit as it did."""
    caller = os.getppid()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    report.attempt("", "ending processes whose parents ended", _kernel.adopt_orphans)
    own_processes = enter_namespaces(order, report)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(order["control_fd"])
        in_child(order, report, own_processes)
    os.close(report.fd)
    for stream in (
        0,
        1,
        2,
    ):  # so that the caller sees the ends of the pipes when the program's processes are gone
        os.close(stream)
    status = wait_for(child, woken, order["control_fd"])
    if not own_processes:
        kill_descendants(order["uid"])
    if os.getppid() != caller:  # which died, and can remove nothing any more
        os.execv("/bin/rm", ["rm", "-rf", order["base"]])
    os._exit(shell_status(status))


def enter_namespaces(order: dict[str, Any], report: Report) -> bool:
    """Enter what namespaces the kernel allows; tell whether processes are among them."""
    if os.geteuid() != 0:
        # Without root, other namespaces are allowed only inside of a user namespace.
        report.attempt("own user namespace", "", own_user)
    report.attempt("own IPC namespace", "", lambda: _kernel.unshare(_kernel.CLONE_NEWIPC))
    order["own_net"] = report.attempt(
        "own network namespace without interfaces", "", lambda: _kernel.unshare(_kernel.CLONE_NEWNET)
    )
    return report.attempt("own process namespace", "", lambda: _kernel.unshare(_kernel.CLONE_NEWPID))


def own_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _kernel.unshare(_kernel.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def in_child(order: dict[str, Any], report: Report, own_processes: bool) -> None:
    try:
        if own_processes:
            be_first(order, report)
        become_program(order, report)
    except BaseException as error:
        report.send(failed=f"{type(error).__name__}: {error}")
    finally:
        os._exit(125)


def be_first(order: dict[str, Any], report: Report) -> None:
    """As the first process of the namespace: start the program and return in it; when it ends, all others end too.

    The program is not the first process itself, because the kernel keeps most signals from that one.
    """
    program = os.fork()
    if program == 0:
        return
    os.close(report.fd)
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(shell_status(os.waitstatus_to_exitcode(status)))


def wait_for(child: int, woken: int, control: int) -> int:
    """Return the exit code of the child, which is killed when the control pipe is closed."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select([woken, control], [], [])
        if control in ready:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.read(woken, 512)


def kill_descendants(uid: int | None) -> None:
    """Kill all processes that came of the program; they are children of this one once their parents are gone."""
    end = time.monotonic() + KILL_S
    while time.monotonic() < end:
        if uid is not None:
            kill_all_of(uid)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def kill_all_of(uid: int) -> None:
    """Kill every process of a user whom the program alone was given; no fork can outrun this."""
    killer = os.fork()
    if killer == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def shell_status(code: int) -> int:
    return 128 - code if code < 0 else code


# --- in both --------------------------------------------------------------------------------------------------------


def become_program(order: dict[str, Any], report: Report) -> None:
    """Give up what is not needed, set the limits, tell the caller, and replace this process by the program."""
    limits = order["limits"]
    os.umask(0o077)
    os.chdir(order["folder"])
    command = [order["python"], "-s", "-P", "-B", "-X", "utf8"]
    if order["control_fd"] is None:
        become_user(order["uid"])
    else:
        command += confine(order, report)
    set_limits(limits, order)
    with contextlib.suppress(OSError):
        _kernel.no_new_privileges()
    report.send(has=[word for word in report.has if word], lacks=report.lacks)
    os.closerange(3, report.fd)
    os.closerange(report.fd + 1, 4096)
    os.execve(order["python"], [*command, order["program"]], order["env"])


def become_user(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def confine(order: dict[str, Any], report: Report) -> list[str]:
    """Close files, change the user, refuse sockets; return what to put between Python and the program."""
    closed = report.attempt(
        "all files but the folder, Python and the system closed by Landlock",
        "reading and writing of files that the user may read and write",
        lambda: _kernel.only_files(order["readable"], order["writable"]),
    )
    change_user(order, report, closed)
    no_sockets = report.attempt("no sockets, by seccomp", "", _kernel.no_new_privileges, _kernel.no_sockets)
    if no_sockets or order["own_net"]:
        return []
    report.lacks.append("network: Python's sockets are unusable, but the kernel would allow others")
    return [order["loader"]]


def change_user(order: dict[str, Any], report: Report, closed: bool) -> None:
    uid = order["uid"]
    if uid is None:
        report.lacks.append("user: it runs as the user who started it")
        return
    if not order["python_is_open"]:
        # Python lies in a folder that only its owner may enter. What else could be read is closed already.
        if not closed:
            raise OSError(
                f"no other user can read {order['python']}, so the program would have to run as root: install "
                "bubblewrap, or Python in a place that everyone may read"
            )
        _kernel.keep_reading(uid, uid)
    else:
        become_user(uid)
    report.has.append("own user id")


def set_limits(limits: dict[str, Any], order: dict[str, Any]) -> None:
    cpu, megabyte = limits["cpu_s"], 1024 * 1024
    wanted = {
        "RLIMIT_CPU": (cpu, cpu + 1),
        "RLIMIT_AS": (limits["memory_mb"] * megabyte,) * 2,
        "RLIMIT_FSIZE": (limits["file_mb"] * megabyte,) * 2,
        "RLIMIT_NOFILE": (limits["n_files"],) * 2,
        "RLIMIT_NPROC": (limits["n_processes"] + order["n_running"],) * 2,
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_MSGQUEUE": (0, 0),
    }
    for name, value in wanted.items():
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), value)


if __name__ == "__main__":
    main()
