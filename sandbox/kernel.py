"""The interpreter inside a sandbox: runs code as it comes and keeps its state, as a notebook's kernel does.

A program of its own, of the standard library only: it is copied into the sandbox and started there. Standard input is a
socket to the session outside, over which frames go both ways: a letter, the length of the payload in four bytes, and
the payload. Inwards ``X`` is a token and code to run; outwards ``V`` is a value, ``P`` a picture, ``E`` an error and
``D``, with the token, the end of a run. What code prints goes to standard output and standard error, which are pipes to
the session.

Nothing here protects anybody: code that runs beside it can do to it whatever it likes. The session outside knows that.
"""

import ast
import asyncio
import builtins
import ctypes
import importlib
import inspect
import io
import json
import linecache
import os
import resource
import signal
import struct
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAME = "lockstitch_kernel"
"""Under which it is a module inside, so that matplotlib finds it as its backend; the session names the file so."""

HEADER = struct.Struct(">cI")
TOKEN_SIZE = 16
_INTERRUPT = {signal.SIGINT}
_INSTRUCTION = 8
_SET_SECCOMP = 22
_MODE_FILTER = 2


class _Channel:
    """Frames to and from the session outside."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def receive(self) -> bytes:
        """Return the payload of the next frame; raises `EOFError` when the session is over."""
        _kind, size = HEADER.unpack(self._exactly(HEADER.size))
        return self._exactly(size)

    def send(self, kind: bytes, payload: bytes) -> None:
        """Send a frame as a whole: an interrupt waits until it is out."""
        with _no_interrupt():
            rest = memoryview(HEADER.pack(kind, len(payload)) + payload)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self._descriptor, min(size, 65536))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class _Kernel:
    """Runs one piece of code after the other in one namespace."""

    def __init__(self, channel: _Channel, longest_text: int, most_pictures: int) -> None:
        self._channel = channel
        self._longest_text = longest_text
        self._most_pictures = most_pictures
        self._pictures = 0
        self._runs = 0
        self._loop: asyncio.Runner | None = None
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module  # what code defines can be pickled, as in a script
        self._names = module.__dict__
        self._names["display"] = self.display

    def run(self, code: str) -> None:
        """Run code and tell what came of it; the frame that ends the run is sent by the caller."""
        self._runs += 1
        self._pictures = 0
        filename = f"<cell {self._runs}>"
        linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        try:
            with _interruptible():
                value = self._evaluate(code, filename)
                self._tell(value)
                self.show_figures()
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt end a run, not the session
            self._channel.send(b"E", self._told(error))
        self._flush()

    def display(self, *objects: Any) -> None:
        """Show objects: as pictures where they can be, else as text. Known to the code by this name."""
        for shown in objects:
            picture = _picture_of(shown)
            if picture is None:
                print(shown)
            else:
                self.show_picture(picture)

    def show_picture(self, png: bytes) -> None:
        """Send a picture; raises `RuntimeError` for more of them than a run may show."""
        self._pictures += 1
        if self._pictures > self._most_pictures:
            raise RuntimeError(f"one run may show {self._most_pictures} pictures, and this is one more")
        self._channel.send(b"P", png)

    def show_figures(self) -> None:
        """Show the figures of matplotlib that are open, and close them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                self.show_picture(_png_of(pyplot.figure(number)))
        finally:
            pyplot.close("all")

    def _evaluate(self, code: str, filename: str) -> Any:
        """Run the statements, and return the value of the last one where that is an expression."""
        tree = ast.parse(code, filename)
        last = tree.body[-1] if tree.body else None
        expression = None
        if isinstance(last, ast.Expr) and not code.rstrip().endswith(";"):  # as notebooks have it
            expression = ast.Expression(last.value)
            tree.body.pop()
        self._execute(tree, filename, "exec")
        return None if expression is None else self._execute(expression, filename, "eval")

    def _execute(self, tree: ast.Module | ast.Expression, filename: str, mode: str) -> Any:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled = compile(tree, filename, mode, flags=flags, dont_inherit=True)
        result = eval(compiled, self._names)  # noqa: S307 - it is what all of this is for
        if not compiled.co_flags & inspect.CO_COROUTINE:
            return result
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(result)

    def _tell(self, value: Any) -> None:
        if value is None:
            return
        self._names["_"] = value
        picture = _picture_of(value)
        if picture is not None:
            self.show_picture(picture)
        else:
            self._channel.send(b"V", self._text(repr(value)))

    def _told(self, error: BaseException) -> bytes:
        told = traceback.TracebackException.from_exception(error)
        _keep_cells_only(told)
        parts = {"name": type(error).__name__, "message": _message_of(error), "traceback": "".join(told.format())}
        return json.dumps({name: part[: self._longest_text // 8] for name, part in parts.items()}).encode()

    def _text(self, text: str) -> bytes:
        if len(text) > self._longest_text // 4:
            text = text[: self._longest_text // 4] + " ..."
        return text.encode(errors="replace")

    @staticmethod
    def _flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: BLE001, S112 - code may have put anything in their place, or closed them
                continue


def _message_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg  # what str() adds to it, the file and the line, the traceback shows
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is the code's own method that failed
        return ""


def _keep_cells_only(told: traceback.TracebackException) -> None:
    """Leave out the frames of this file and of libraries, and causes that happened only there.

    Whoever wrote the code looks for its own lines.
    """
    told.stack = traceback.StackSummary.from_list(_cells_in(told))
    for cause in (told.__cause__, told.__context__):
        if cause is not None:
            _keep_cells_only(cause)
    told.__cause__ = _if_in_cells(told.__cause__)
    told.__context__ = _if_in_cells(told.__context__)


def _if_in_cells(told: traceback.TracebackException | None) -> traceback.TracebackException | None:
    return told if told is not None and _cells_in(told) else None


def _cells_in(told: traceback.TracebackException) -> list[traceback.FrameSummary]:
    return [frame for frame in told.stack if frame.filename.startswith("<cell ")]


def _picture_of(shown: Any) -> bytes | None:
    """Return an object as a PNG, if it is one of matplotlib's figures or says itself how, as Pillow's images do."""
    figures = sys.modules.get("matplotlib.figure")
    if figures is not None and isinstance(shown, figures.Figure):
        sys.modules["matplotlib.pyplot"].close(shown)
        return _png_of(shown)
    how = getattr(type(shown), "_repr_png_", None)
    png = how(shown) if callable(how) else None
    return png if isinstance(png, bytes) else None


def _png_of(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt`, but not one that came for a run that has ended."""
    while signal.sigtimedwait(_INTERRUPT, 0):
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# What matplotlib asks of a backend: a canvas and what `plt.show()` does.

_show_figures: Callable[[], None] | None = None


def show(*_arguments: Any, **_options: Any) -> None:
    """Show the open figures; in a process that code has started, where nobody looks, nothing."""
    if _show_figures is not None:
        _show_figures()


def __getattr__(name: str) -> Any:
    if name != "FigureCanvas":
        raise AttributeError(name)
    canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    globals()[name] = canvas  # matplotlib copies a backend's names, so it must be there as one
    return canvas


def main() -> None:
    """Set the limits that the kernel of the operating system keeps, say that it is ready, and run what comes."""
    global _show_figures
    options = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, most in options["resources"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    _refuse_system_calls(options["filter"])
    channel = _Channel(_take_standard_input())
    os.chdir(options["folder"])
    sys.path[:0] = [""]
    sys.path += options["packages"]
    sys.argv = [""]
    sys.modules[NAME] = sys.modules["__main__"]
    kernel = _Kernel(channel, options["longest_text"], options["most_pictures"])
    builtins.display = kernel.display  # type: ignore[attr-defined]  # notebooks have it, and code counts on it
    _show_figures = kernel.show_figures
    for package in options["imports"]:
        try:
            importlib.import_module(package)
        except ImportError:  # it is imported ahead to save time; code that needs it learns that it is missing
            continue
    channel.send(b"D", b"")
    while True:
        try:
            content = channel.receive()
        except EOFError:
            return
        kernel.run(content[TOKEN_SIZE:].decode())
        channel.send(b"D", content[:TOKEN_SIZE])


class _Program(ctypes.Structure):
    """A seccomp program: ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _refuse_system_calls(path: str) -> None:
    """Let the operating system refuse what the program in this file says, for ever and for all that is started."""
    with open(path, "rb") as file:  # noqa: PTH123
        instructions = file.read()
    program = _Program(len(instructions) // _INSTRUCTION, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the system calls cannot be filtered")


def _take_standard_input() -> int:
    """Keep the socket for the frames under another number, and give code an input that is at its end.

    Sandlock leaves descriptors behind by which it has started this program; they are closed.
    """
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    channel = os.dup(0)
    reading, writing = os.pipe()
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    return channel


if __name__ == "__main__":
    main()
