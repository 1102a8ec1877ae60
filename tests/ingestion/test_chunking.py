"""Chunks: as large and as overlapping as was asked for, and nothing of the text is lost."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstitch.assistants.ingestion.chunking import chunks_of
from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.search.words import words_of
from lockstitch.errors import FileRefused

PROSE = "\n\n".join(
    " ".join(f"Paragraph {n} has a sentence about the number {n * m}." for m in range(12)) for n in range(60)
)
ODD = {
    "one long word": "x" * 20_000,
    "no blanks": "東京のホテルは高いです" * 500,
    "only line breaks": "\n" * 5_000 + "a",
    "encoded data": "QUJDRA" * 3_000,
    "emoji": "👩‍👩‍👧‍👦" * 800,
    "prose": PROSE,
}


def strategy(size=800, overlap=400):
    return {"type": "static", "static": {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}}


def rebuilt(chunks):
    text = ""
    for chunk in chunks:
        assert chunk.start <= len(text), "something is missing between two chunks"
        text += chunk.text[len(text) - chunk.start :]
    return text


def overlaps(chunks):
    return [count_tokens(one.text[two.start - one.start :]) for one, two in pairwise(chunks)]


@pytest.mark.parametrize(("size", "overlap"), [(800, 400), (100, 50), (100, 0), (4096, 2048)])
@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_chunks_keep_the_limits_and_the_text(text, size, overlap):
    chunks = chunks_of(text, strategy(size, overlap))

    assert rebuilt(chunks) == text
    assert max(count_tokens(chunk.text) for chunk in chunks) <= size
    assert max(overlaps(chunks), default=0) <= overlap


def test_chunks_of_prose_are_nearly_as_large_and_overlap_nearly_as_much_as_may_be():
    chunks = chunks_of(PROSE, strategy(200, 100))

    assert min(count_tokens(chunk.text) for chunk in chunks[:-1]) > 150
    assert min(overlaps(chunks)) > 70


def test_chunks_begin_where_sentences_do():
    assert {chunk.text.split()[0] for chunk in chunks_of(PROSE, strategy(200, 100))} == {"Paragraph"}


def test_a_short_text_is_one_chunk_with_its_words():
    [chunk] = chunks_of("Refunds are paid.", strategy())

    assert (chunk.start, chunk.text, chunk.words) == (0, "Refunds are paid.", words_of("Refunds are paid."))


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.sampled_from('ab .!?\n\t"é東👩'), max_size=2_000))
def test_no_text_is_lost(text):
    assert rebuilt(chunks_of(text, strategy(100, 50))) == text


def test_a_text_with_too_many_tokens_is_refused():
    with pytest.raises(FileRefused, match="more than 1000 tokens") as refused:
        chunks_of(PROSE, strategy(), max_tokens=1_000)
    assert refused.value.code == "invalid_file"
