"""Judges one program by its tests; runs inside the sandbox, as two processes.

The judge holds the tests and the token that marks its verdicts, and is closed to other processes. The program runs in
a process of its own that knows neither. Between them go values: the tests call the program's functions by messages and
compare what comes back here, out of the program's reach. Plain values (numbers, text, lists, ...) come as copies;
anything else stays with the program and is stood for by a `Remote`, which equals no plain value whatever its `__eq__`
says. So a program cannot pass by ending early, printing a verdict, or patching builtins, `assert` or the comparison.

Departures from running tests and program in one namespace, as HumanEval and MBPP do: tests cannot compute with or
order objects of the program's own classes; what tests define and pass to the program can be called and iterated only.

Standard library only: the sandbox shows no agenttts.
"""

from __future__ import annotations

import ast
import builtins
import collections
import contextlib
import ctypes
import datetime
import decimal
import fractions
import importlib
import io
import json
import linecache
import operator
import os
import pickle
import struct
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

PLAIN = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple, type(None))
"""Exchanged as copies; of subclasses, the plain part."""
LIBRARY = (
    *(collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, fractions.Fraction, range, slice),
)
"""Exchanged as copies too; of subclasses nothing."""
CONSTRUCTORS = {(kind.__module__, kind.__qualname__): kind for kind in (*PLAIN[:-1], *LIBRARY)}
"""All that a message may call while it is read."""
TRUSTED = sys.stdlib_module_names | {"numpy", "pandas", "scipy", "sympy"}
"""Modules that tests mean when the program imported them: the judge takes its own."""
MOST_BYTES = 64 * 1024 * 1024
SHOWN = 300
"""Characters of a value in a verdict."""

OPERATORS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


class GoneError(BaseException):
    """The program's process ended. No `Exception`, so that tests that expect one are not content with it."""


class ExitedError(BaseException):
    """The program raised `SystemExit` or the like."""


class ProgramError(Exception):
    """The program raised an exception of its own kind."""


# --- messages -------------------------------------------------------------------------------------------------------


class Remote:
    """Stands for an object of the other process."""

    __slots__ = ("_handle", "_peer")

    def __init__(self, peer: Peer, handle: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value, changed = self._peer.ask("call", self, args, kwargs)
        for arg, after in zip(args, changed, strict=False):
            _take_over(arg, after)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("setattr", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("setitem", self, key, value)

    def __len__(self) -> int:
        return int(self._peer.ask("len", self))

    def __bool__(self) -> bool:
        return bool(self._peer.ask("bool", self))

    def __iter__(self) -> Iterator[Any]:
        items = self._peer.ask("iter", self)
        while item := self._peer.ask("next", items):
            yield item[0]

    def __next__(self) -> Any:
        item = self._peer.ask("next", self)
        if not item:
            raise StopIteration
        return item[0]

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and bool(self._peer.ask("isinstance", instance, self))

    def __eq__(self, other: object) -> bool:
        """Ask the program only where both are its own; it has no say in what equals a plain value."""
        return isinstance(other, Remote) and bool(self._peer.ask("eq", self, other))

    def __hash__(self) -> int:
        return hash(self._handle)

    def __repr__(self) -> str:
        return str(self._peer.ask("repr", self))


def _take_over(arg: Any, after: Any) -> None:
    """Let an argument become what the program made of it."""
    if after is None or type(arg) is not type(after):
        return
    if isinstance(arg, list | bytearray):
        arg[:] = after
    else:
        arg.clear()
        arg.update(after)


class Peer:
    """One end of the two pipes. While it waits for an answer, it serves what the other end asks."""

    def __init__(
        self, read: int, write: int, serve: Callable[[str, tuple[Any, ...]], Any], *, is_judge: bool
    ) -> None:
        self._read = os.fdopen(read, "rb")
        self._write = os.fdopen(write, "wb")
        self._serve = serve
        self.is_judge = is_judge
        self.kept: dict[int, Any] = {}
        self.gone = False

    def ask(self, what: str, *args: Any) -> Any:
        self._send(("ask", what, args))
        while True:
            kind, *rest = self._receive()
            if kind == "ask":
                self._answer(*rest)
            elif kind == "value":
                return rest[0]
            else:
                raise _raised(*rest)

    def serve(self) -> None:
        while True:
            kind, *rest = self._receive()
            if kind == "ask":
                self._answer(*rest)

    def _answer(self, what: str, args: tuple[Any, ...]) -> None:
        try:
            reply = self._packed(("value", self._serve(what, args)))
        except GoneError:
            raise
        except BaseException as error:
            reply = self._packed(("raised", *_described(error)))
        self._send_bytes(reply)

    def _send(self, message: Any) -> None:
        self._send_bytes(self._packed(message))

    def _packed(self, message: Any) -> bytes:
        buffer = io.BytesIO()
        Packer(buffer, self).dump(message)
        return buffer.getvalue()

    def _send_bytes(self, data: bytes) -> None:
        try:
            self._write.write(struct.pack("!Q", len(data)) + data)
            self._write.flush()
        except (OSError, ValueError) as error:
            self.gone = True
            raise GoneError from error

    def _receive(self) -> Any:
        head = self._exactly(8)
        length = struct.unpack("!Q", head)[0]
        if length > MOST_BYTES:
            self.gone = True
            raise GoneError
        return Unpacker(io.BytesIO(self._exactly(length)), self).load()

    def _exactly(self, n: int) -> bytes:
        try:
            data = self._read.read(n)
        except (OSError, ValueError) as error:
            self.gone = True
            raise GoneError from error
        if len(data) < n:
            self.gone = True
            raise GoneError
        return data


class Packer(pickle.Pickler):
    """Writes plain values; all others by number."""

    def __init__(self, buffer: io.BytesIO, peer: Peer) -> None:
        super().__init__(buffer, protocol=5)
        self._peer = peer

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Remote):
            return "yours", obj._handle
        if isinstance(obj, PLAIN) or type(obj) in LIBRARY or _of_numpy(obj):
            return None
        if isinstance(obj, type) and obj in CONSTRUCTORS.values():
            return None
        if self._peer.is_judge and (name := _trusted_name(obj)) is not None:
            return "global", name
        self._peer.kept[id(obj)] = obj
        return "mine", id(obj)

    def reducer_override(self, obj: Any) -> Any:
        if _of_numpy(obj):
            value = obj.tolist()
            return type(value), (value,)
        plain: Any = next((kind for kind in PLAIN if isinstance(obj, kind)), None)
        if plain is None or isinstance(obj, LIBRARY) or type(obj) is plain:
            return NotImplemented
        if issubclass(plain, bool | int | float | complex | str | bytes | bytearray):
            return plain, (plain(obj),)
        return plain, (dict(obj) if plain is dict else list(obj),)


def _of_numpy(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, getattr(numpy, "generic", ()) or ())


def _trusted_name(obj: Any) -> str | None:
    """Return `module` or `module:name` of something that the other process has too."""
    if isinstance(obj, types.ModuleType):
        name = obj.__name__
        return name if name.partition(".")[0] in TRUSTED and sys.modules.get(name) is obj else None
    module, qualified = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if (
        not isinstance(module, str)
        or not isinstance(qualified, str)
        or module.partition(".")[0] not in TRUSTED
    ):
        return None
    found = getattr(sys.modules.get(module), qualified, None)
    return f"{module}:{qualified}" if found is obj else None


def _trusted(reference: str) -> Any:
    """Return what `_trusted_name` named, of this process."""
    module, _, name = reference.partition(":")
    if module.partition(".")[0] not in TRUSTED:
        raise ValueError(f"{module} is no module that both processes have")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


class Unpacker(pickle.Unpickler):
    """Reads what `Packer` writes and calls nothing else, whoever wrote it."""

    def __init__(self, buffer: io.BytesIO, peer: Peer) -> None:
        super().__init__(buffer)
        self._peer = peer

    def find_class(self, module: str, name: str) -> Any:
        try:
            return CONSTRUCTORS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} may not be sent") from None

    def persistent_load(self, pid: Any) -> Any:
        whose, what = pid
        if whose == "yours":
            return self._peer.kept[what]
        if whose == "mine":
            return Remote(self._peer, int(what))
        if self._peer.is_judge:  # a program would return an object that equals everything, such as `mock.ANY`
            raise pickle.UnpicklingError(f"{what} may not be sent")
        return _trusted(str(what))


def _described(error: BaseException) -> tuple[list[str], str, str]:
    names = [kind.__name__ for kind in type(error).__mro__]
    with contextlib.suppress(BaseException):
        lines = traceback.format_exception(error, limit=-4)
        return names, str(error)[:SHOWN], "".join(lines)[-1500:]
    return names, "", names[0]


def _raised(names: list[str], text: str, trace: str) -> BaseException:
    kinds = [getattr(builtins, name, None) for name in names]
    known = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseException)), None)
    if known is None or not issubclass(known, Exception):
        error: BaseException = ExitedError(f"{names[0]}: {text}")
    else:
        try:
            error = known(text) if known is not Exception else ProgramError(f"{names[0]}: {text}")
        except TypeError:
            error = ProgramError(f"{names[0]}: {text}")
    error.add_note(str(trace))
    return error


# --- the program's process ------------------------------------------------------------------------------------------


class Program:
    """Holds the program and does what the tests ask of it."""

    def __init__(self) -> None:
        self.module = types.ModuleType("program")

    def serve(self, what: str, args: tuple[Any, ...]) -> Any:
        done: dict[str, Callable[..., Any]] = {
            "bool": bool,
            "call": self._call,
            "eq": operator.eq,
            "getattr": getattr,
            "getitem": operator.getitem,
            "isinstance": isinstance,
            "iter": iter,
            "len": len,
            "load": self._load,
            "name": self._name,
            "next": _next,
            "repr": lambda value: repr(value)[:SHOWN],
            "setattr": setattr,
            "setitem": operator.setitem,
        }
        return done[what](*args)

    def _load(self, source: str) -> None:
        sys.modules["program"] = self.module
        linecache.cache["program.py"] = (len(source), None, source.splitlines(keepends=True), "program.py")
        exec(compile(source, "program.py", "exec"), self.module.__dict__)  # noqa: S102 - what the sandbox is for

    def _name(self, name: str) -> tuple[Any, ...]:
        """Return the value of a name, or what it is called in a library; empty where there is none."""
        if name not in self.module.__dict__:
            return ()
        value = self.module.__dict__[name]
        reference = _trusted_name(value)
        return ("value", value) if reference is None else ("library", reference)

    @staticmethod
    def _call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        value = function(*args, **kwargs)
        return value, [arg if type(arg) in (list, dict, set, bytearray) else None for arg in args]


def _next(items: Any) -> tuple[Any, ...]:
    """Return the next item in a tuple; empty at the end."""
    for item in items:
        return (item,)
    return ()


def be_program(read: int, write: int) -> None:
    for pipe in (read, write):
        os.set_inheritable(pipe, False)
    with contextlib.suppress(GoneError):
        Peer(read, write, Program().serve, is_judge=False).serve()


# --- the judge's process --------------------------------------------------------------------------------------------


class Names(dict[str, Any]):
    """The namespace of the tests: their own names, builtins, and where neither has a name, the program's."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(__name__="tests")
        self.peer = peer

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) or name.startswith("__"):
            raise KeyError(name)
        found = self.peer.ask("name", name)
        if not found:
            raise KeyError(name)
        kind, value = found
        if kind == "value":
            return value
        # Modules go by any name. A function goes by its own: else one under test could be any function of a library.
        if ":" in value and value.rpartition(":")[2] != name:
            raise KeyError(name)
        return _trusted(value)


class Noted(ast.NodeTransformer):
    """Lets an assertion that compares two values keep them, so that a verdict can show them."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        compared = node.test
        if isinstance(compared, ast.Compare) and len(compared.ops) == 1:
            kind = ast.Constant(type(compared.ops[0]).__name__)
            called = ast.Name("__compared__", ast.Load())
            call = ast.Call(called, [kind, compared.left, *compared.comparators], [])
            node.test = ast.fix_missing_locations(ast.copy_location(call, compared))
        return node


class Judge:
    """Runs the tests against a program."""

    def __init__(self, job: dict[str, Any], peer: Peer) -> None:
        self.job = job
        self.peer = peer
        self.names = Names(peer)
        self.names["__compared__"] = self.compared
        self.last: tuple[Any, Any] | None = None

    def compared(self, kind: str, left: Any, right: Any) -> Any:
        self.last = (left, right)
        return OPERATORS[getattr(ast, kind)](left, right)

    def judge(self) -> None:
        failure = self.failure_of(self.prepare)
        if failure:
            self.tell({"prepared": failure})
            return
        for index, test in enumerate(self.job["tests"]):
            failure = self.failure_of(partial(self.run, test))
            self.tell({"test": index, "failure": failure})
            if failure and (self.peer.gone or not self.job["all"]):
                return

    def prepare(self) -> None:
        for source in (self.job["before"], self.job["program"]):
            self.peer.ask("load", source)
        self.run(self.job["setup"])

    def run(self, source: str) -> None:
        tree = ast.fix_missing_locations(Noted().visit(ast.parse(source)))
        linecache.cache["tests.py"] = (len(source), None, source.splitlines(keepends=True), "tests.py")
        exec(compile(tree, "tests.py", "exec"), self.names)  # noqa: S102 - what the sandbox is for

    def failure_of(self, step: Callable[[], None]) -> str:
        """Return why a step failed; empty where it did not."""
        self.last = None
        try:
            step()
        except BaseException as error:
            return self.described(error) or type(error).__name__
        return "the program's process ended" if self.peer.gone else ""

    def described(self, error: BaseException) -> str:
        if self.peer.gone or isinstance(error, GoneError):
            return "the program's process ended before the test did"
        lines = [f"line: {line}"] if (line := _line_of_tests(error)) else []
        if isinstance(error, AssertionError) and not getattr(error, "__notes__", ()):
            return "\n".join([*lines, *self.sides(), *([f"message: {error}"] if str(error) else [])])
        trace = "".join(getattr(error, "__notes__", ()))
        return "\n".join([*lines, trace or f"{type(error).__name__}: {error}"])

    def sides(self) -> list[str]:
        if self.last is None:
            return []
        with contextlib.suppress(BaseException):
            left, right = (repr(side)[:SHOWN] for side in self.last)
            return [f"got: {left}", f"expected: {right}"]
        return []

    def tell(self, verdict: dict[str, Any]) -> None:
        sys.stdout.write(f"{self.job['token']} {json.dumps(verdict)}\n")
        sys.stdout.flush()


def _line_of_tests(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.line or "" for frame in reversed(frames) if frame.filename == "tests.py"), "")


def _serve_program(what: str, args: tuple[Any, ...]) -> Any:
    """Do what the program may ask of the tests: call what they passed to it, or take its next item."""
    if what == "call" and callable(args[0]):
        return args[0](*args[1], **args[2]), []
    if what == "iter":
        return iter(args[0])
    if what == "next":
        return _next(args[0])
    if what == "bool":
        return True
    raise AttributeError(f"{what}: objects of the tests can be called and iterated only")


def be_judge() -> None:
    job = json.loads(sys.stdin.buffer.read())
    with contextlib.suppress(OSError, AttributeError):
        # So that the program, which runs as the same user, can read neither the tests nor the token (Linux).
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    to_program, from_judge = os.pipe()[::-1]
    from_program, to_judge = os.pipe()
    child = subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, "-s", "-P", "-B", "-X", "utf8", __file__, str(from_judge), str(to_judge)],
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=(from_judge, to_judge),
    )
    os.close(from_judge)
    os.close(to_judge)
    Judge(job, Peer(from_program, to_program, _serve_program, is_judge=True)).judge()
    child.kill()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        be_program(int(sys.argv[1]), int(sys.argv[2]))
    else:
        be_judge()
