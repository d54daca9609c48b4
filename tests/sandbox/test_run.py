from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agenttts.errors import SandboxError
from agenttts.sandbox import Isolation, Limits, run_python
from agenttts.testing.hostile import Host
from tests.sandbox.test_hostile import gone

QUICK = Limits(timeout_s=5.0)


def test_a_program_reads_and_prints(isolation: Isolation) -> None:
    source = "import sys\nprint(sys.stdin.read().upper())\nprint('warned', file=sys.stderr)\nsys.exit(3)"
    done = run_python(source, stdin="grüße", isolation=isolation)
    assert (done.stdout, done.stderr, done.exit_status, done.ended) == ("GRÜSSE\n", "warned\n", 3, "")
    assert not done.ok


def test_the_folder_is_empty_private_and_writable(isolation: Isolation) -> None:
    source = "import os\nprint(os.listdir('.'))\nopen('mine','w').write('x')\nprint(open('mine').read())"
    assert run_python(source, isolation=isolation).stdout == "[]\nx\n"
    assert run_python(source, isolation=isolation).stdout == "[]\nx\n"


def test_no_variable_of_the_parent_is_seen(isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    source = """
import glob, os
print(dict(os.environ))
for path in glob.glob("/proc/*/environ"):
    try:
        print(open(path).read())
    except OSError:
        pass
"""
    done = run_python(source, isolation=isolation)
    assert done.exit_status == 0
    assert "PATH" in done.stdout
    assert "sk-very-secret" not in done.stdout


def test_wall_time_is_limited(isolation: Isolation) -> None:
    done = run_python("import time\ntime.sleep(60)", limits=Limits(timeout_s=0.5), isolation=isolation)
    assert done.ended == "timeout"
    assert done.duration_s < 5


def test_cpu_time_is_limited(isolation: Isolation) -> None:
    done = run_python("while True: pass", limits=Limits(timeout_s=20, cpu_s=1), isolation=isolation)
    assert done.ended == "cpu"


def test_the_size_of_a_file_is_limited(isolation: Isolation) -> None:
    source = "open('big', 'wb').write(b'x' * 3_000_000)"
    done = run_python(source, limits=Limits(file_mb=1), isolation=isolation)
    assert "File too large" in done.stderr


def test_the_size_of_all_files_together_is_limited(isolation: Isolation) -> None:
    source = """
import itertools, time
for i in itertools.count():
    with open(f"f{i}", "wb") as file:
        file.write(b"x" * 900_000)
    time.sleep(0.005)
"""
    done = run_python(source, limits=Limits(file_mb=1, timeout_s=20), isolation=isolation)
    assert done.ended == "files" or "No space left" in done.stderr


def test_threads_are_limited(isolation: Isolation) -> None:
    source = """
import threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
"""
    done = run_python(source, limits=Limits(timeout_s=5, n_processes=8), isolation=isolation)
    assert "can't start new thread" in done.stderr


def test_open_files_are_limited(isolation: Isolation) -> None:
    source = "held = [open('/dev/null') for _ in range(100)]"
    assert "Too many open files" in run_python(source, limits=Limits(n_files=32), isolation=isolation).stderr


def test_grandchildren_in_sessions_of_their_own_are_ended(
    isolation: Isolation, host: Host, scratch: Path
) -> None:
    source = host.aimed("""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        import time
        time.sleep(300)
    os._exit(0)
os.wait()
print("done")
""")
    done = run_python(source, limits=QUICK, isolation=isolation)
    assert (done.stdout, done.ended) == ("done\n", "")
    assert gone(host)


def test_a_grandchild_that_holds_the_output_does_not_keep_the_caller(isolation: Isolation) -> None:
    source = "import os, time\nif os.fork() == 0: time.sleep(60)\nprint('done', flush=True)\nos._exit(0)"
    done = run_python(source, limits=Limits(timeout_s=20), isolation=isolation)
    assert done.duration_s < 10
    assert done.exit_status == 0


def test_a_signal_is_told(isolation: Isolation) -> None:
    done = run_python("import os\nos.kill(os.getpid(), 9)", isolation=isolation)
    assert (done.exit_status, done.ended) == (128 + signal.SIGKILL, "killed")


def test_no_process_of_the_host_can_be_signalled(isolation: Isolation) -> None:
    source = f"""
import os, signal
for pid in ({os.getpid()}, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        pass
"""
    run_python(source, limits=QUICK, isolation=isolation)
    assert run_python("print(1)", isolation=isolation).stdout == "1\n"


def test_a_folder_nested_beyond_recursion_is_removed(isolation: Isolation, scratch: Path) -> None:
    source = (
        "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0)\nprint('deep')"
    )
    assert run_python(source, isolation=isolation).stdout == "deep\n"
    assert list(scratch.iterdir()) == []


def test_what_a_program_links_to_is_not_removed(isolation: Isolation, scratch: Path, host: Host) -> None:
    before = host.files()
    run_python(f"import os\nos.symlink({str(host.home)!r}, 'link')", isolation=isolation)
    assert list(scratch.iterdir()) == []
    assert host.files() == before


def test_sets_are_in_the_same_order_each_time(isolation: Isolation) -> None:
    source = "print({'a', 'b', 'c', 'd', 'e', 'f'})"
    assert len({run_python(source, isolation=isolation).stdout for _ in range(3)}) == 1


def test_libraries_of_this_python_are_there(isolation: Isolation) -> None:
    done = run_python("import numpy\nprint(numpy.arange(3).sum())", isolation=isolation)
    assert done.stdout == "3\n", done.stderr


def test_a_text_that_is_no_python_and_no_unicode_ends_with_an_error(isolation: Isolation) -> None:
    assert "SyntaxError" in run_python("def (:", isolation=isolation).stderr
    assert run_python("\ud800", isolation=isolation).exit_status == 1
    assert "null bytes" in run_python("print(1)\0", isolation=isolation).stderr


def test_what_is_no_text_is_shown_all_the_same(isolation: Isolation) -> None:
    done = run_python("import os\nos.write(1, b'\\xff\\xfeok')", isolation=isolation)
    assert done.stdout == "��ok"


def test_many_at_once_keep_apart(isolation: Isolation) -> None:
    def one(i: int) -> str:
        return run_python(f"import time\ntime.sleep(0.05)\nprint({i})", isolation=isolation).stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == [f"{i}\n" for i in range(16)]


def test_a_run_in_a_thread_leaves_no_thread_and_no_file_open(isolation: Isolation) -> None:
    run_python("", isolation=isolation)
    before = (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    for _ in range(3):
        run_python("print(1)", isolation=isolation)
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_bubblewrap_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from agenttts.sandbox import run

    run._why_no_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(SandboxError, match="bwrap"):
            run_python("", isolation="bubblewrap")
        assert run_python("print(1)").isolation.startswith("process")
    finally:
        run._why_no_bubblewrap.cache_clear()


def test_a_bubblewrap_that_does_not_work_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from agenttts.sandbox import run

    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    run._why_no_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    try:
        with pytest.raises(SandboxError, match="No permissions to create new namespace"):
            run_python("", isolation="bubblewrap")
        assert run_python("print(1)").isolation.startswith("process")
    finally:
        run._why_no_bubblewrap.cache_clear()


def test_a_supervisor_ends_and_removes_everything_when_its_caller_dies(host: Host, scratch: Path) -> None:
    import subprocess
    import sys

    program = host.aimed("import time\ntime.sleep(300)")
    code = f"from agenttts.sandbox import *\nrun_python({program!r}, limits=Limits(timeout_s=200), isolation='process')"
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(scratch)})
    end = time.monotonic() + 20
    while not host.processes() and time.monotonic() < end:
        time.sleep(0.05)
    assert host.processes()
    caller.kill()
    caller.wait()
    assert gone(host)
    end = time.monotonic() + 5
    while list(scratch.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(scratch.iterdir()) == []
