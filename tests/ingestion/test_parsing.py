"""What text there is in files."""

import codecs

import pytest

from lockstitch.assistants.ingestion.parsing import TextParser
from lockstitch.errors import FileRefused

TEXT = "Grüße aus Oslo"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.encode("latin-1"),
    ],
)
@pytest.mark.parametrize("filename", ["a.txt", "a.MD", "README", "a.tar.csv"])
async def test_text_is_read_in_every_encoding(filename, content):
    assert await TextParser().parse(filename, content) == TEXT


async def test_text_of_one_byte_for_each_character_has_quotation_marks_and_the_euro():
    assert await TextParser().parse("a.txt", "“Grüße”, 5 €".encode("cp1252")) == "“Grüße”, 5 €"
    assert await TextParser().parse("a.txt", b"\x81 is none of those") == "\x81 is none of those"


async def test_html_is_what_a_browser_would_show():
    page = b"""<!doctype html><html><head><title>Handbook</title><script>if (a < b) { run("<p>no</p>") }</script>
        <style>p {}</style></head><body><h1>Refunds &amp; more</h1>
        <p>Paid within <b>ten</b> days.<br>Write to
        us.</p><ul><li>One<li>Two</ul><template><p>unseen</p></template></body></html>"""

    assert (await TextParser().parse("a.html", page)).splitlines() == [
        "Handbook", "Refunds & more", "Paid within ten days.", "Write to us.", "One", "Two",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "text"),
    [(b"a < b", "a < b"), (b"a<p", "a"), (b"a<![", "a"), (b"</script>text", "text"), (b"a<!-- <p>", "a"),
     (b"a<p b='", "a"), (b"a&#xffffff;b&nosuch;", "a\ufffdb&nosuch;")],
)  # fmt: skip
async def test_broken_html_is_read_as_far_as_it_goes(page, text):
    assert (await TextParser().parse("a.html", page)).startswith(text)


@pytest.mark.parametrize("begun", ["<a ", "<a b='", "<!--", "<![CDATA[", "<?", "</a"])
async def test_html_that_never_ends_what_it_begins_takes_no_longer_than_other_html(begun):
    assert await TextParser().parse("a.html", b"before" + begun.encode() * 200_000) == "before"


async def test_the_last_words_of_html_are_read_like_the_others():
    assert await TextParser().parse("a.html", b"<p>AT&T &amp") == "AT&T &"


@pytest.mark.parametrize(
    ("filename", "content", "code", "message"),
    [
        ("a.exe", b"MZ", "unsupported_file", "Files with the extension .exe are not supported."),
        ("a.txt", b"", "invalid_file", "The file has no text in it."),
        ("a.txt", b" \n\t", "invalid_file", "The file has no text in it."),
        ("a.html", b"<p> <br>", "invalid_file", "The file has no text in it."),
        ("a.txt", b"MZ\0\0", "invalid_file", "The file is not text."),
        ("a.txt", b"\x89\x02\x03PNG", "invalid_file", "The file is not text."),
        ("a.txt", b"%PDF-1.4 all of it letters", "invalid_file", "The file is a PDF whose name does not end in .pdf"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a", "invalid_file", "The file begins as utf-16-le and is not: truncated"),
    ],
)
async def test_what_is_no_text_is_refused(filename, content, code, message):
    with pytest.raises(FileRefused, match=message.replace(".", r"\.")) as refused:
        await TextParser().parse(filename, content)
    assert refused.value.code == code
