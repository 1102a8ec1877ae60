"""Documents that are more than text, read in a real sandbox: what is in them, and what is said of those that cannot."""

from dataclasses import replace

import psutil
import pytest

from lockstitch.assistants.ingestion import documents
from lockstitch.assistants.ingestion.documents import DocumentParser
from lockstitch.assistants.ingestion.parsing import DOCUMENT_SUFFIXES, TextParser
from lockstitch.errors import FileRefused, SandboxUnavailable
from lockstitch.sandbox.sandboxes import sandbox_of
from lockstitch.tests.written_documents import SENTENCE, docx, pdf, png, xlsx


@pytest.fixture(scope="module")
async def parser():
    sandbox = sandbox_of("sandlock")
    yield DocumentParser(sandbox, TextParser())
    await sandbox.aclose()


def processes():
    """The processes that this one has started, and theirs."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize(
    ("filename", "content", "text"),
    [
        ("a.pdf", pdf(), SENTENCE),
        ("a.docx", docx(), SENTENCE),
        ("A.XLSX", xlsx(), "January 1710"),
        ("a.rtf", rb"{\rtf1\ansi A refund is paid \b within\b0  fourteen days.}", SENTENCE),
        ("a.eml", f"Subject: Refunds\n\n{SENTENCE}\n".encode(), SENTENCE),
        ("a.txt", SENTENCE.encode(), SENTENCE),
    ],
)
async def test_a_document_gives_its_text(parser, filename, content, text):
    assert text in " ".join((await parser.parse(filename, content)).split())


@pytest.mark.parametrize(
    ("filename", "content", "code", "said"),
    [
        ("broken.pdf", b"%PDF-1.4\n", "invalid_file", "cannot be read as what its name says it is: Invalid PDF"),
        ("wrong.pdf", docx(), "invalid_file", "cannot be read as what its name says it is"),
        ("empty.pdf", b"", "invalid_file", "is empty"),
        ("text.rtf", png(), "invalid_file", "does not begin as files with the extension .rtf do"),
        ("picture.pdf", pdf(text=""), "invalid_file", "no text in it"),
        ("cut off.pdf", pdf()[:900], "invalid_file", "cannot be read as what its name says it is"),
        ("text.pdf", SENTENCE.encode(), "invalid_file", "cannot be read as what its name says it is"),
        ("text.xls", SENTENCE.encode(), "invalid_file", "cannot be read as what its name says it is"),
        ("a.exe", b"MZ", "unsupported_file", "extension .exe"),
    ],
)
async def test_a_file_that_cannot_be_read_says_why(parser, filename, content, code, said):
    with pytest.raises(FileRefused, match=said) as refused:
        await parser.parse(filename, content)
    assert refused.value.code == code
    assert "\n" not in str(refused.value)


async def test_a_zip_bomb_is_refused(parser):
    with pytest.raises(FileRefused, match="exceeds limit") as refused:
        await parser.parse("bomb.docx", docx(megabytes=150))
    assert refused.value.code == "invalid_file"


async def test_a_file_that_takes_too_much_memory_ends_its_session_and_the_next_is_read(parser, monkeypatch):
    before = processes()
    monkeypatch.setattr(documents, "LIMITS", replace(documents.LIMITS, memory=160 * 1024 * 1024))
    with pytest.raises(FileRefused, match="takes more than may be used") as refused:
        await parser.parse("large.docx", docx(megabytes=90))
    monkeypatch.undo()
    assert refused.value.code == "invalid_file"
    assert await parser.parse("a.docx", docx()) == SENTENCE
    assert processes() <= before


async def test_more_text_than_a_file_may_have_is_not_taken_out(parser, monkeypatch):
    monkeypatch.setattr(documents, "MAX_TEXT_BYTES", 10)
    with pytest.raises(FileRefused, match="more than 10 bytes of text"):
        await parser.parse("a.docx", docx())


async def test_where_nothing_can_be_confined_nothing_is_read():
    parser = DocumentParser(sandbox_of("none"), TextParser())
    with pytest.raises(SandboxUnavailable):
        await parser.parse("a.docx", docx())
    assert await parser.parse("a.txt", b"Apples") == "Apples"


@pytest.mark.parametrize("suffix", sorted(DOCUMENT_SUFFIXES))
async def test_without_a_sandbox_documents_are_refused_with_what_to_switch_on(suffix):
    with pytest.raises(FileRefused, match=rf"\{suffix} are read in a sandbox only.*LOCKSTITCH_SANDBOX") as refused:
        await TextParser().parse(f"a{suffix}", b"x")
    assert refused.value.code == "unsupported_file"
