"""What text there is in a file."""

import asyncio
import codecs
from html import unescape
from html.parser import HTMLParser
from pathlib import PurePath
from typing import Protocol

from lockstitch.errors import FileRefused

MAX_BYTES = 64 * 1024 * 1024
"""Larger files are refused: their text would be far beyond the tokens that a file may have."""

TEXT_SUFFIXES = frozenset({
    ".bash", ".bat", ".c", ".cc", ".cfg", ".conf", ".cpp", ".cs", ".css", ".csv", ".cxx", ".dart", ".diff", ".erl",
    ".ex", ".go", ".gradle", ".graphql", ".h", ".hh", ".hpp", ".hs", ".ini", ".java", ".jl", ".js", ".json", ".jsonl",
    ".jsx", ".kt", ".less", ".log", ".lua", ".m", ".markdown", ".md", ".ml", ".mjs", ".patch", ".php", ".pl",
    ".properties", ".proto", ".ps1", ".py", ".r", ".rb", ".rs", ".rst", ".sass", ".scala", ".scss", ".sh", ".sql",
    ".svelte", ".swift", ".tex", ".text", ".tf", ".toml", ".ts", ".tsv", ".tsx", ".txt", ".vue", ".xml", ".yaml",
    ".yml", ".zig",
})  # fmt: skip
"""Files that are text as they are; so is one whose name has no suffix."""

HTML_SUFFIXES = frozenset({".htm", ".html", ".xhtml"})

DOCUMENT_SUFFIXES = frozenset({
    ".doc", ".docx", ".eml", ".epub", ".ipynb", ".msg", ".ods", ".odt", ".pdf", ".ppt", ".pptx", ".rtf", ".xls",
    ".xlsx",
})  # fmt: skip
"""Files that are more than text; they are read in a sandbox only."""

# The longer marks first: that of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


_CONTROLS = frozenset(range(32)) - {*b"\b\t\n\v\f\r\x1a\x1b"}
"""Bytes that text of one byte for each character does not have; programs and pictures are full of them."""


class FileParser(Protocol):
    """Reads files of some kinds."""

    async def parse(self, filename: str, content: bytes) -> str:
        """Return the text of a file; raises `FileRefused` for one that it cannot read or that has no text."""
        ...


class TextParser:
    """Reads what is text already, and HTML."""

    async def parse(self, filename: str, content: bytes) -> str:
        """Return the text of a file."""
        suffix = suffix_of(filename)
        if suffix in DOCUMENT_SUFFIXES:
            problem = f"Files with the extension {suffix} are read in a sandbox only, and the workers have none"
            raise FileRefused("unsupported_file", f"{problem}; LOCKSTITCH_SANDBOX switches one on.")
        if suffix and suffix not in TEXT_SUFFIXES and suffix not in HTML_SUFFIXES:
            raise FileRefused("unsupported_file", f"Files with the extension {suffix} are not supported.")
        return await asyncio.to_thread(_text, content, is_html=suffix in HTML_SUFFIXES)


def suffix_of(filename: str) -> str:
    """Return what says which kind of file it is, in small letters with its dot; empty where nothing does."""
    return PurePath(filename).suffix.lower()


def _text(content: bytes, *, is_html: bool) -> str:
    if content.startswith(b"%PDF-"):
        raise FileRefused("invalid_file", "The file is a PDF whose name does not end in .pdf; name it so.")
    text = _decoded(content)
    if "\0" in text:
        raise FileRefused("invalid_file", "The file is not text.")
    if is_html:
        text = _text_of_html(text)
    if not text.strip():
        raise FileRefused("invalid_file", "The file has no text in it.")
    return text


def _decoded(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decoded_as(encoding, content[len(mark) :])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _decoded_bytewise(content)


def _decoded_bytewise(content: bytes) -> str:
    if not _CONTROLS.isdisjoint(content):
        raise FileRefused("invalid_file", "The file is not text.")
    try:
        return content.decode("cp1252")  # Latin-1 with quotation marks and the euro, which is what is meant by it
    except UnicodeDecodeError:
        return content.decode("latin-1")  # which any bytes are


def _decoded_as(encoding: str, content: bytes) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileRefused("invalid_file", f"The file begins as {encoding} and is not: {error.reason}.") from error


def _text_of_html(html: str) -> str:
    reader = _HtmlReader()
    reader.feed(html)
    reader.finish()
    lines = (" ".join(line.split()) for line in "".join(reader.read).splitlines())
    return "\n".join(line for line in lines if line)


class _HtmlReader(HTMLParser):
    """Collects what a browser would show."""

    _UNSEEN = frozenset({"script", "style", "template", "noscript"})
    _INLINE = frozenset(
        {"a", "abbr", "b", "code", "em", "i", "mark", "q", "s", "small", "span", "strong", "sub", "sup"}
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.read: list[str] = []
        self._inside_unseen = 0

    def finish(self) -> None:
        """Take what is left as a browser does: text is text, and a tag or a comment without an end is nothing.

        `close` would look for that end again from each ``<`` on, for hours in a file of a few megabytes.
        """
        rest, self.rawdata = self.rawdata, ""
        if not rest.startswith("<"):
            self.handle_data(unescape(rest))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, except where an element goes on in one."""
        self._break(tag)
        self._inside_unseen += tag in self._UNSEEN

    def handle_endtag(self, tag: str) -> None:
        """End the line, except where an element goes on in one."""
        self._break(tag)
        if tag in self._UNSEEN:
            self._inside_unseen = max(self._inside_unseen - 1, 0)

    def handle_data(self, data: str) -> None:
        """Keep text; its own line breaks mean no more than blanks."""
        if not self._inside_unseen:
            self.read.append(data.replace("\n", " "))

    def _break(self, tag: str) -> None:
        if tag not in self._INLINE:
            self.read.append("\n")
