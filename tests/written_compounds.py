"""Documents of the old office formats, written by hand: small streams in a compound file, with one sentence in them."""

import struct
from collections.abc import Mapping

from lockstitch.tests.written_documents import SENTENCE

_SECTOR = 512
_SMALLEST = 4096
"""Shorter streams are kept in another way, so ours are filled up."""
_LAST, _FREE, _TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
_STREAM, _ROOT = 2, 5


def doc() -> bytes:
    """Return a text document: the text, and a table that says where its only piece is."""
    text, place = SENTENCE.encode() + b"\r", 2048
    head = bytearray(place)
    struct.pack_into("<6H", head, 0, 0xA5EC, 0xC1, 0, 0x409, 0, 0x200)
    struct.pack_into("<H", head, 32, 14)
    struct.pack_into("<H", head, 62, 22)
    struct.pack_into("<I", head, 0x4C, len(text))
    struct.pack_into("<H", head, 152, 93)
    pieces = struct.pack("<IIHIH", 0, len(text), 0, place * 2 | 0x40000000, 0)
    table = b"\x02" + struct.pack("<I", len(pieces)) + pieces
    struct.pack_into("<II", head, 0x1A2, 0, len(table))
    return _compound({"WordDocument": bytes(head) + text, "1Table": table})


def xls() -> bytes:
    """Return a workbook of one sheet with one cell."""
    book, end, label = _begun(5), _cell_record(0x0A), struct.pack("<4HB", 0, 0, 0, len(SENTENCE), 0)
    sheets = struct.pack("<IBB", len(book) + 13 + len(end), 0, 0) + b"\x01\0A"
    sheet = _begun(16) + _cell_record(0x204, label + SENTENCE.encode()) + end
    return _compound({"Workbook": book + _cell_record(0x85, sheets) + end + sheet})


def _begun(kind: int) -> bytes:
    return _cell_record(0x809, struct.pack("<4HII", 0x600, kind, 0xDBB, 0x7CC, 0, 6))


def _cell_record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def ppt() -> bytes:
    """Return a presentation with the text of one slide."""
    text = _slide_record(0xF9F, struct.pack("<I", 1)) + _slide_record(0xFA0, SENTENCE.encode("utf-16-le"))
    slides = _slide_record(0x3E8, _slide_record(0xFF0, text, holds_records=True), holds_records=True)
    return _compound({"PowerPoint Document": slides + _slide_record(0xFBA, bytes(_SMALLEST)), "Current User": b""})


def _slide_record(kind: int, data: bytes, *, holds_records: bool = False) -> bytes:
    return struct.pack("<HHI", 0xF if holds_records else 0, kind, len(data)) + data


def msg() -> bytes:
    """Return a mail with a subject and a text."""
    subject, text = (said.ljust(_SMALLEST).encode("utf-16-le") for said in ("Refunds", SENTENCE))
    sizes = ((0x0037001F, len(subject)), (0x1000001F, len(text)))
    properties = bytes(32) + b"".join(struct.pack("<4I", tag, 6, size + 2, 0) for tag, size in sizes)
    return _compound({
        "__properties_version1.0": properties,
        "__substg1.0_0037001F": subject,
        "__substg1.0_1000001F": text,
    })  # fmt: skip


def _compound(streams: Mapping[str, bytes]) -> bytes:
    """Return a compound file: its head, one sector that chains all others, the names, and the streams."""
    ordered = sorted(streams.items(), key=lambda stream: (len(stream[0]), stream[0].upper()))
    sectors = -(-(len(ordered) + 1) // 4)  # of names, four in each
    chain = [_TABLE, *range(2, sectors + 1), _LAST]
    names, content = _name("Root Entry", _ROOT, _LAST, 0, child=1), b""
    for number, (name, stream) in enumerate(ordered, 1):
        filled = stream.ljust(max(_SMALLEST, -(-len(stream) // _SECTOR) * _SECTOR), b"\0")
        following = number + 1 if number < len(ordered) else _FREE
        names += _name(name, _STREAM, len(chain), len(filled), following=following)
        begin, content = len(chain), content + filled
        chain += [*range(begin + 1, begin + len(filled) // _SECTOR), _LAST]
    names += _name("", 0, 0, 0) * (sectors * 4 - len(ordered) - 1)
    table = struct.pack("<128I", *chain, *[_FREE] * (128 - len(chain)))
    versions = struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    places = struct.pack("<118I", 0, 1, 1, 0, _SMALLEST, _LAST, 0, _LAST, 0, 0, *[_FREE] * 108)
    return bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16) + versions + places + table + names + content


def _name(name: str, kind: int, start: int, size: int, *, following: int = _FREE, child: int = _FREE) -> bytes:
    encoded = name.encode("utf-16-le")
    length = len(encoded) + 2 if name else 0
    links = struct.pack("<HBBIII36x", length, kind, 1, _FREE, following, child)
    return encoded.ljust(64, b"\0") + links + struct.pack("<IQ", start, size)
