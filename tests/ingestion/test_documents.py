"""Documents that are more than text, read in a real sandbox: what is in them, and what is said of those that cannot."""

import io
import json
import zipfile
from dataclasses import replace

import openpyxl
import pytest
from matplotlib.figure import Figure

from lockstitch.assistants.ingestion import documents
from lockstitch.assistants.ingestion.documents import DocumentParser
from lockstitch.assistants.ingestion.parsing import DOCUMENT_SUFFIXES, TextParser
from lockstitch.errors import FileRefused, SandboxUnavailable
from lockstitch.sandbox.sandboxes import sandbox_of

SENTENCE = "A refund is paid within fourteen days."
TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
RELATIONS = """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Target="word/document.xml"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/></Relationships>"""
BEFORE = """<?xml version="1.0"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>"""
BEHIND = "</w:t></w:r></w:p></w:body></w:document>"


@pytest.fixture(scope="module")
async def parser():
    sandbox = sandbox_of("sandlock")
    yield DocumentParser(sandbox, TextParser())
    await sandbox.aclose()


def docx(text=SENTENCE, megabytes=0):
    """A text document, whose text goes on with so much of one letter."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", RELATIONS)
        with archive.open("word/document.xml", "w") as document:
            document.write((BEFORE + text).encode())
            for _ in range(megabytes):
                document.write(b"a" * 1024 * 1024)
            document.write(BEHIND.encode())
    return packed.getvalue()


def xlsx():
    book, packed = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["Month", "Sales"])
    book.active.append(["January", 1710])
    book.save(packed)
    return packed.getvalue()


def packed(parts, mimetype=None):
    """A file that is an archive; ``mimetype`` is what some kinds begin with."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def opendocument(kind, body):
    office = "urn:oasis:names:tc:opendocument:xmlns"
    names = " ".join(f'xmlns:{name}="{office}:{name}:1.0"' for name in ("office", "text", "table"))
    content = f"<office:document-content {names}><office:body>{body}</office:body></office:document-content>"
    mimetype = f"application/vnd.oasis.opendocument.{kind}"
    entry = f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mimetype}"/>'
    manifest = f'<manifest:manifest xmlns:manifest="{office}:manifest:1.0">{entry}</manifest:manifest>'
    return packed({"content.xml": content, "META-INF/manifest.xml": manifest}, mimetype)


def odt():
    return opendocument("text", f"<office:text><text:p>{SENTENCE}</text:p></office:text>")


def ods():
    cell = f'<table:table-cell office:value-type="string"><text:p>{SENTENCE}</text:p></table:table-cell>'
    table = f'<table:table table:name="A"><table:table-row>{cell}</table:table-row></table:table>'
    return opendocument("spreadsheet", f"<office:spreadsheet>{table}</office:spreadsheet>")


def pptx():
    schemas = "http://schemas.openxmlformats.org"
    relations = f"{schemas}/package/2006/relationships"
    spaces = f'xmlns:p="{schemas}/presentationml/2006/main" xmlns:a="{schemas}/drawingml/2006/main"'
    linked = f'xmlns:r="{schemas}/officeDocument/2006/relationships"'
    paragraph = f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{SENTENCE}</a:t></a:r></a:p></p:txBody>"
    shape = f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="T"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>{paragraph}</p:sp>'
    slides = (
        f'<p:presentation {spaces} {linked}><p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst></p:presentation>'
    )
    relation = f'<Relationship Id="r1" Type="{schemas}/officeDocument/2006/relationships/slide" Target="slides/a.xml"/>'
    return packed(
        {
            "ppt/presentation.xml": slides,
            "ppt/_rels/presentation.xml.rels": f'<Relationships xmlns="{relations}">{relation}</Relationships>',
            "ppt/slides/a.xml": f"<p:sld {spaces}><p:cSld><p:spTree>{shape}</p:spTree></p:cSld></p:sld>",
        }
    )


def epub():
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/><manifest>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/></spine></package>'
    )
    page = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{SENTENCE}</p></body></html>'
    return packed({"META-INF/container.xml": container, "c.opf": book, "a.xhtml": page}, "application/epub+zip")


def ipynb():
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [SENTENCE]}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()


def pdf(text=SENTENCE):
    figure, drawn = Figure(), io.BytesIO()
    if text:
        figure.text(0.1, 0.5, text)
    figure.savefig(drawn, format="pdf")
    return drawn.getvalue()


@pytest.mark.parametrize(
    ("filename", "content", "text"),
    [
        ("a.pdf", pdf(), SENTENCE),
        ("a.docx", docx(), SENTENCE),
        ("A.XLSX", xlsx(), "January 1710"),
        ("a.rtf", rb"{\rtf1\ansi A refund is paid \b within\b0  fourteen days.}", SENTENCE),
        ("a.eml", f"Subject: Refunds\n\n{SENTENCE}\n".encode(), SENTENCE),
        ("a.odt", odt(), SENTENCE),
        ("a.ods", ods(), SENTENCE),
        ("a.pptx", pptx(), SENTENCE),
        ("a.epub", epub(), SENTENCE),
        ("a.ipynb", ipynb(), SENTENCE),
        ("a.txt", SENTENCE.encode(), SENTENCE),
    ],
)
async def test_a_document_gives_its_text(parser, filename, content, text):
    assert text in " ".join((await parser.parse(filename, content)).split())


@pytest.mark.parametrize(
    ("filename", "content", "code", "said"),
    [
        ("broken.pdf", b"%PDF-1.4\n", "invalid_file", "cannot be read as what its name says it is: ParsingError"),
        ("wrong.pdf", docx(), "invalid_file", "cannot be read as what its name says it is"),
        ("empty.pdf", b"", "invalid_file", "is empty"),
        ("picture.pdf", pdf(text=""), "invalid_file", "no text in it"),
        ("cut off.pdf", pdf()[:900], "invalid_file", "cannot be read as what its name says it is"),
        ("text.pdf", SENTENCE.encode(), "invalid_file", "cannot be read as what its name says it is"),
        ("text.xls", SENTENCE.encode(), "invalid_file", "cannot be read as what its name says it is"),
        ("document.txt", pdf(), "invalid_file", "is a PDF and not text"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "invalid_file", "is not text"),
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
    monkeypatch.setattr(documents, "LIMITS", replace(documents.LIMITS, memory=160 * 1024 * 1024))
    with pytest.raises(FileRefused, match="takes more than may be used") as refused:
        await parser.parse("large.docx", docx(megabytes=90))
    monkeypatch.undo()
    assert refused.value.code == "invalid_file"
    assert await parser.parse("a.docx", docx()) == SENTENCE


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
