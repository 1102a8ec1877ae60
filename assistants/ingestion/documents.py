"""The text of documents that are more than text: PDF, office files, books, mails.

What reads them is a large library, and whoever uploads a file chooses what it has to cope with. So it runs confined, in
a session of its own for each file, and whatever comes out of there is treated as written by the uploader.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import PurePosixPath

from lockstitch.assistants.ingestion.parsing import DOCUMENT_SUFFIXES, FileParser, suffix_of
from lockstitch.errors import FileRefused, SessionLost
from lockstitch.sandbox.port import Limits, Raised, RunEvent, Sandbox, Session, Stopped

LIMITS = Limits(
    memory=1024 * 1024 * 1024,
    cpu=timedelta(minutes=2),
    wall=timedelta(minutes=3),
    disk=512 * 1024 * 1024,
    output=16 * 1024,
    files=2,
)
"""What reading one file may take: the largest that is accepted, and nothing that grows without end."""

MAX_TEXT_BYTES = 100 * 1024 * 1024
"""More text is far beyond the tokens that a file may have."""

_PIECE = 1024 * 1024
_TEXT = PurePosixPath("text.txt")
_LONGEST_PROBLEM = 300

_CODE = """
import pathlib
import kreuzberg
read = kreuzberg.extract_file_sync({path!r}, config=kreuzberg.ExtractionConfig(use_cache=False))
_ = pathlib.Path({text!r}).write_text(read.content, encoding="utf-8", errors="replace")
"""

_BEGINNINGS = {".rtf": b"{\\rtf"}
"""How files begin of which the reader would take anything; of the others it says itself that they are none."""

_NOT_THE_FILES_FAULT = frozenset({"ModuleNotFoundError", "ImportError"})


class DocumentParser:
    """Reads documents in the ``sandbox`` with kreuzberg, and leaves all other files to ``others``."""

    def __init__(self, sandbox: Sandbox, others: FileParser) -> None:
        self._sandbox = sandbox
        self._others = others

    def __repr__(self) -> str:
        return f"DocumentParser({self._sandbox.name!r})"

    async def parse(self, filename: str, content: bytes) -> str:
        """Return the text of a file; raises `FileRefused`, and `SandboxUnavailable` where nothing can be confined."""
        suffix = suffix_of(filename)
        if suffix not in DOCUMENT_SUFFIXES:
            return await self._others.parse(filename, content)
        if not content:
            raise FileRefused("invalid_file", "The file is empty.")
        if not content.lstrip().startswith(_BEGINNINGS.get(suffix, b"")):
            raise FileRefused("invalid_file", f"The file does not begin as files with the extension {suffix} do.")
        session = await self._sandbox.open(LIMITS)
        try:
            text = await _text_of(session, PurePosixPath(f"file{suffix}"), content)
        except SessionLost as error:
            # Another file in another session may fare better; this one would come to the same end again.
            problem = f"The file takes more than may be used to read it, or breaks what reads it: {error.reason}."
            raise FileRefused("invalid_file", problem) from error
        finally:
            await session.aclose()
        if not text.strip():
            raise FileRefused("invalid_file", "The file has no text in it; pictures of text are not read.")
        return text


async def _text_of(session: Session, path: PurePosixPath, content: bytes) -> str:
    await session.put(path, _pieces(content))
    async for event in session.run(_CODE.format(path=str(path), text=str(_TEXT))):
        _check(event)
    read = bytearray()
    pieces = session.get(_TEXT)
    try:
        async for piece in pieces:
            read += piece
            if len(read) > MAX_TEXT_BYTES:
                raise FileRefused("invalid_file", f"The file has more than {MAX_TEXT_BYTES} bytes of text.")
    except FileNotFoundError as error:
        raise FileRefused("invalid_file", "The file could not be read: nothing came of it.") from error
    finally:
        await pieces.aclose()
    # No database keeps the first character in text; lines of PDFs end with both of the others.
    return read.decode("utf-8", errors="replace").replace("\0", "").replace("\r\n", "\n")


def _check(event: RunEvent) -> None:
    """Raise what an event of the run means for the file."""
    match event:
        case Raised(name, message) if name in _NOT_THE_FILES_FAULT:
            raise ModuleNotFoundError(f"{message}; the Python of the sandbox needs 'lockstitch[file-search]'")
        case Raised(name, message):
            said = " ".join(message.removeprefix(f"{name}: ").split())[:_LONGEST_PROBLEM]
            raise FileRefused("invalid_file", f"The file cannot be read as what its name says it is: {said}")
        case Stopped(limit):
            raise FileRefused("invalid_file", f"The file takes longer to read than it may ({limit}).")
        case _:
            pass


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
