"""BM25 between 0 and 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstitch.assistants.search.ranking import Corpus, score

CORPUS = Corpus(chunks=100, words=1000, having={"the": 100, "refund": 5, "oslo": 2})
TEN = ["filler"] * 10


def scored(query, chunk):
    return score(CORPUS, query.split(), chunk.split())


def test_a_chunk_that_has_every_word_once_scores_two_thirds():
    assert score(CORPUS, ["refund", "oslo"], ["refund", "oslo", *TEN[2:]]) == pytest.approx(2 / 3)


def test_a_chunk_without_any_of_the_words_scores_nothing():
    assert scored("refund oslo", "parking on deck two") == scored("refund", "") == score(CORPUS, [], TEN) == 0


def test_rare_words_count_for_more_than_common_ones():
    assert scored("the refund", "a refund is paid") > 5 * scored("the refund", "the garage is open")


def test_repeating_a_word_helps_a_little_and_length_harms_a_little():
    once, twice = "refund a b c d e f g h i", "refund refund b c d e f g h i"

    assert scored("refund", once) < scored("refund", twice) < 1
    assert scored("refund", once + " j k l m") < scored("refund", once)


def test_a_word_that_no_chunk_has_is_missed():
    assert scored("refund submarine", "a refund") < scored("refund", "a refund")


WORDS = st.lists(st.sampled_from(["the", "refund", "oslo", "submarine", "filler"]), max_size=30)


@given(query=WORDS, chunk=WORDS)
def test_a_score_is_between_nothing_and_one(query, chunk):
    assert 0 <= score(CORPUS, query, chunk) <= 1
