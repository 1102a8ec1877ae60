"""What comes from a session to the worker: frames, printed text and the warden's lines. Nothing of it is believed."""

import asyncio
import codecs
import json
import os
import socket
from dataclasses import dataclass
from typing import Literal

from lockstitch.sandbox.kernel import HEADER
from lockstitch.sandbox.port import Displayed, Printed, Raised, RunEvent, Value

_LARGEST_FRAME = 16 * 1024 * 1024
_MOST_FRAMES = 64 * 1024 * 1024
"""Bytes of frames in one run."""
_PIECE = 64 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The kernel says that it is ready for the next run."""


@dataclass(frozen=True, slots=True)
class CpuSpent:
    """The warden says that the run has used up its processor time."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The warden says that it has sent an interrupt."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The session is over."""

    reason: str


Told = RunEvent | RunEnded | CpuSpent | Lost
Happened = Told | Interrupted


class Wires:
    """What comes from a session: the kernel's frames, what code prints, and the warden's lines."""

    def __init__(self, frames: socket.socket, printed: dict[Stream, int], control: socket.socket):
        self.frames = frames
        self.control = control
        self.happened: asyncio.Queue[Happened] = asyncio.Queue()
        self._printed = printed
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in printed}
        self._lines = b""
        self._received = bytearray()
        self._received_in_run = 0
        self._token = b""
        self._text_left = 0
        self._listening = False
        self._open = True
        frames.setblocking(False)
        control.setblocking(False)
        asyncio.get_running_loop().add_reader(control.fileno(), self._hear_warden)

    def throw_away(self) -> None:
        """Throw away what was said between runs; it belongs to none."""
        for descriptor in (self.frames.fileno(), *self._printed.values()):
            for _ in range(16):  # of 64 KiB each: more than a pipe or a socket holds
                if not _read(descriptor):
                    break

    def listen(self, longest_text: int, token: bytes = b"") -> None:
        """Begin to listen to a run, which ends with its token, or to the kernel's start, which ends with none.

        Code that tells of an end before it comes tells of a second one in the next run, and is caught at that.
        """
        self._token = token
        self._received.clear()
        self._received_in_run = 0
        self._text_left = longest_text
        loop = asyncio.get_running_loop()
        loop.add_reader(self.frames.fileno(), self._hear_kernel)
        for name, descriptor in self._printed.items():
            loop.add_reader(descriptor, self._hear_print, name)
        self._listening = True

    def ignore(self) -> None:
        """Listen no longer to the code; what it goes on to print fills its pipe, and waits there."""
        if not self._listening:
            return
        self._listening = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.frames.fileno())
        for descriptor in self._printed.values():
            loop.remove_reader(descriptor)

    def close(self) -> None:
        """Close everything; may be called twice."""
        if not self._open:
            return
        self._open = False
        self.ignore()
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self.frames.close()
        self.control.close()
        for descriptor in self._printed.values():
            os.close(descriptor)

    def drain(self) -> None:
        """Hear what the code has printed up to now, and not yet been heard."""
        for name in self._printed:
            while self._listening and self._text_left > 0 and self._hear_print(name):
                continue

    def _hear_print(self, name: Stream) -> bool:
        """Take what one stream has; whether there may be more."""
        content = _read(self._printed[name])
        if content == b"":
            asyncio.get_running_loop().remove_reader(self._printed[name])
        if not content or self._text_left < 0:
            return False
        text = self._decoders[name].decode(content[: self._text_left])
        if text:
            self.happened.put_nowait(Printed(name, text))
        self._text_left -= len(content)
        if self._text_left < 0:
            self.happened.put_nowait(Printed("stderr", "\n[What the code printed after this was left out.]\n"))
        return True

    def _hear_kernel(self) -> None:
        try:
            content = self.frames.recv(_PIECE)
        except BlockingIOError:
            return
        except ConnectionError:
            content = b""
        if not content:
            self.ignore()
            return  # the warden sees the kernel's end too, and knows why
        self._received += content
        self._received_in_run += len(content)
        if self._received_in_run > _MOST_FRAMES:
            self._lose(f"its code showed more than {_MOST_FRAMES} bytes")
            return
        try:
            self._take_frames()
        except (ValueError, TypeError, KeyError, RecursionError):
            self._lose("its interpreter sent something that makes no sense")

    def _take_frames(self) -> None:
        while self._listening and len(self._received) >= HEADER.size:
            kind, size = HEADER.unpack_from(self._received)
            if size > _LARGEST_FRAME:
                raise ValueError("a frame is too large")
            if len(self._received) < HEADER.size + size:
                return
            payload = bytes(self._received[HEADER.size : HEADER.size + size])
            del self._received[: HEADER.size + size]
            event = _event(kind, payload, self._token)
            self.drain()  # what was printed before it comes before it
            self.happened.put_nowait(event)
            if isinstance(event, RunEnded):
                self.ignore()

    def _lose(self, reason: str) -> None:
        self.ignore()
        self.happened.put_nowait(Lost(reason))

    def _hear_warden(self) -> None:
        try:
            content = self.control.recv(_PIECE)
        except BlockingIOError:
            return
        except ConnectionError:
            content = b""
        *lines, self._lines = (self._lines + content).split(b"\n")
        for line in lines:
            self.happened.put_nowait(_word(line.decode(errors="replace")))
        if not content:
            asyncio.get_running_loop().remove_reader(self.control.fileno())
            self.happened.put_nowait(Lost("its warden ended"))


def _word(line: str) -> CpuSpent | Interrupted | Lost:
    match line.split(" ", 1):
        case ["cpu"]:
            return CpuSpent()
        case ["interrupted"]:
            return Interrupted()
        case ["ended", reason]:
            return Lost(reason)
        case _:
            raise ValueError(f"the warden said {line!r}")


def _event(kind: bytes, payload: bytes, token: bytes) -> RunEvent | RunEnded:
    """Read a frame; raises `ValueError`, `TypeError`, `KeyError` or `RecursionError` for one that no kernel sends."""
    match kind:
        case b"D" if payload == token:
            return RunEnded()
        case b"V":
            return Value(payload.decode())
        case b"P" if payload.startswith(_PNG):
            return Displayed(payload)
        case b"E":
            told = json.loads(payload)
            name, message, traceback = told["name"], told["message"], told["traceback"]
            if not (isinstance(name, str) and isinstance(message, str) and isinstance(traceback, str)):
                raise TypeError("an error is told in texts")
            return Raised(name, message, traceback)
        case _:
            raise ValueError(f"no kernel sends such a frame {kind!r}")


def _read(descriptor: int) -> bytes | None:
    """Return what there is to read, nothing at the end of it, None where there is nothing yet."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None
    except OSError:
        return b""
