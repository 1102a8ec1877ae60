"""Documents of many kinds, written by hand: small, with one sentence in them, and whole or not as a test wants it."""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping

import openpyxl
from matplotlib.figure import Figure

SENTENCE = "A refund is paid within fourteen days."

MEGABYTE = 1024 * 1024

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OPEN = "urn:oasis:names:tc:opendocument:xmlns"


def packed(members: Mapping[str, str], growing: str = "", megabytes: int = 0) -> bytes:
    """Return a zip file with these texts; in the member ``growing``, a `SENTENCE` is followed by so much of "a"."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in members.items():
            with archive.open(name, "w", force_zip64=name == growing) as member:
                before, sentence, behind = text.partition(SENTENCE)
                member.write((before + sentence).encode())
                for _ in range(megabytes if name == growing else 0):
                    member.write(b"a" * MEGABYTE)
                member.write(behind.encode())
    return written.getvalue()


def docx(text: str = SENTENCE, megabytes: int = 0) -> bytes:
    """Return a text document."""
    document = f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'
    types = {"/word/document.xml": "wordprocessingml.document.main"}
    members = _office_file("word/document.xml", types) | {"word/document.xml": document}
    return packed(members, "word/document.xml", megabytes)


def pptx() -> bytes:
    """Return a presentation of one slide."""
    types = {
        "/ppt/presentation.xml": "presentationml.presentation.main",
        "/ppt/slides/slide1.xml": "presentationml.slide",
    }
    slides = '<p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst>'
    text = f"<p:sp><p:txBody><a:p><a:r><a:t>{SENTENCE}</a:t></a:r></a:p></p:txBody></p:sp>"
    return packed({
        **_office_file("ppt/presentation.xml", types),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{_SLIDES}" xmlns:r="{_OFFICE}">{slides}</p:presentation>',
        "ppt/_rels/presentation.xml.rels": _relation("slide", "slides/slide1.xml"),
        "ppt/slides/slide1.xml": f'<p:sld xmlns:p="{_SLIDES}" xmlns:a="{_DRAWING}">'
        f"<p:cSld><p:spTree>{text}</p:spTree></p:cSld></p:sld>",
    })  # fmt: skip


def xlsx() -> bytes:
    """Return a workbook with two rows."""
    book, written = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["Month", "Sales"])
    book.active.append(["January", 1710])
    book.save(written)
    return written.getvalue()


def xlsx_of(megabytes: int) -> bytes:
    """Return a workbook with one cell whose text goes on for so long."""
    types = {"/xl/workbook.xml": "spreadsheetml.sheet.main", "/xl/worksheets/sheet1.xml": "spreadsheetml.worksheet"}
    sheets = '<sheets><sheet name="A" sheetId="1" r:id="r1"/></sheets>'
    cell = f'<row r="1"><c r="A1" t="inlineStr"><is><t>{SENTENCE}</t></is></c></row>'
    members = {
        **_office_file("xl/workbook.xml", types),
        "xl/workbook.xml": f'<workbook xmlns="{_SHEETS}" xmlns:r="{_OFFICE}">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": _relation("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEETS}"><sheetData>{cell}</sheetData></worksheet>',
    }
    return packed(members, "xl/worksheets/sheet1.xml", megabytes)


def odt(megabytes: int = 0) -> bytes:
    """Return a text document of the other family."""
    return _open_document("text", f"<text:p>{SENTENCE}</text:p>", megabytes)


def ods() -> bytes:
    """Return a spreadsheet of the other family."""
    cell = f'<table:table-cell office:value-type="string"><text:p>{SENTENCE}</text:p></table:table-cell>'
    rows = f"<table:table-row>{cell}</table:table-row>"
    return _open_document("spreadsheet", f'<table:table table:name="A">{rows}</table:table>')


def epub() -> bytes:
    """Return a book of one chapter."""
    root = '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/>'
    container = f'<container version="1.0" xmlns="{_OPEN}:container"><rootfiles>{root}</rootfiles></container>'
    chapter = '<item id="c" href="chapter.xhtml" media-type="application/xhtml+xml"/>'
    return packed({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "book.opf": f'<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/>'
        f'<manifest>{chapter}</manifest><spine><itemref idref="c"/></spine></package>',
        "chapter.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{SENTENCE}</p></body></html>',
    })  # fmt: skip


def ipynb() -> bytes:
    """Return a notebook with one cell of text."""
    cell = {"cell_type": "markdown", "metadata": {}, "source": [SENTENCE]}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()


def pdf(text: str = SENTENCE) -> bytes:
    """Return a page with a text, or an empty one."""
    return _drawn(text, "pdf")


def png() -> bytes:
    """Return a picture of a text."""
    return _drawn(SENTENCE, "png")


def pdf_of(megabytes: int) -> bytes:
    """Return a page whose drawing instructions go on for so long."""
    squeeze = zlib.compressobj()
    first, each, last = (
        squeeze.compress(b" " * MEGABYTE) + squeeze.flush(flush)
        for flush in (zlib.Z_FULL_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH)
    )  # after a full flush the same comes out again
    drawing = first + each * (megabytes - 2) + last
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(drawing), drawing),
    )
    return _numbered(objects)


def _numbered(objects: Iterable[bytes]) -> bytes:
    written, places = b"%PDF-1.4\n", [b"0000000000 65535 f \n"]
    for number, each in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(written))
        written += b"%d 0 obj%bendobj\n" % (number, each)
    table = b"xref\n0 %d\n%btrailer<</Size %d/Root 1 0 R>>" % (len(places), b"".join(places), len(places))
    return b"%b%bstartxref\n%d\n%%%%EOF" % (written, table, len(written))


def _drawn(text: str, kind: str) -> bytes:
    figure, written = Figure(), io.BytesIO()
    if text:
        figure.text(0.1, 0.5, text)
    figure.savefig(written, format=kind)
    return written.getvalue()


def _office_file(first: str, types: Mapping[str, str]) -> dict[str, str]:
    """Return the members that lead to all others."""
    parts = "".join(f'<Override PartName="{name}" ContentType="{_TYPE}.{kind}+xml"/>' for name, kind in types.items())
    relations = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{relations}{parts}</Types>',
        "_rels/.rels": _relation("officeDocument", first),
    }


def _relation(kind: str, target: str) -> str:
    relation = f'<Relationship Id="r1" Type="{_OFFICE}/{kind}" Target="{target}"/>'
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{relation}</Relationships>'


def _open_document(kind: str, body: str, megabytes: int = 0) -> bytes:
    spaces = " ".join(f'xmlns:{name}="{_OPEN}:{name}:1.0"' for name in ("office", "text", "table"))
    content = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    members = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{_OPEN}:manifest:1.0"/>',
        "content.xml": f'<office:document-content {spaces} office:version="1.2">{content}</office:document-content>',
    }
    return packed(members, "content.xml", megabytes)
