"""Words: what is told apart and what counts as the same."""

import pytest

from lockstitch.assistants.search.words import MAX_WORD_LENGTH, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Refunds are PAID, within ten-days!", "refund are paid within ten day"),
        ("lookup_order(ERR_4512)", "lookup order err 4512"),
        ("Bücher über Straßen", "bucher uber strassen"),
        ("Ἀθῆναι Ёлка", "αθηναι елка"),
        ("policies boxes classes status bus gas", "policy boxe classe status bus gas"),
        ("東京のホテル", "東 京 の ホ テ ル"),
        ("ﬁne Ⅳ x²", "fine iv x2"),
        ("हिन्दी भाषा", "ह न द भ ष"),
        ("... — \0 \u200b", ""),
    ],
)
def test_text_is_taken_apart_into_words(text, words):
    assert words_of(text) == words.split()


def test_a_word_has_a_longest_length():
    assert words_of("x" * 1000) == ["x" * MAX_WORD_LENGTH]


def test_the_form_in_which_words_are_compared_is_stable():
    """What is a word already stays what it is, so that a query may be made of words that were found."""
    text = "Refund of ten days: Bücher, straße, policy 4512, 東京"

    assert words_of(" ".join(words_of(text))) == words_of(text)
