"""How well a chunk answers, from 0 to 1 and the same for every database; pure.

By its words, with BM25 (Robertson and Zaragoza 2009), and by its meaning, with the similarity of vectors.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SATURATION = 0.5
"""BM25's k1: how much a word counts that a chunk has more than once. Chunks are short and alike in length, so that
having the words of the query matters more than repeating them."""

LENGTH_WEIGHT = 0.75
"""BM25's b: how much the length of a chunk tells against it."""

MEANING_WEIGHT = 0.7
"""How much similarity counts beside words. On questions about documentation, less loses what vectors find; on names of
functions, more loses what words find: see docs/benchmarks.md."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All chunks of a vector store: how many, how many words together, and how many have each word of a query."""

    chunks: int
    words: int
    having: Mapping[str, int]


def score(corpus: Corpus, query: Sequence[str], chunk: Sequence[str]) -> float:
    """Return how well a chunk answers a query, both as words.

    It is the share that the chunk has of the most that BM25 can give for the query: 0 where it has none of the words,
    about two thirds where it has each of them once, and close to 1 where it repeats them all.
    """
    weights = {word: _weight(corpus, word) for word in query}
    most = sum(weights.values()) * (SATURATION + 1)
    if not chunk or most == 0:
        return 0.0
    average = corpus.words / max(corpus.chunks, 1)
    length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(chunk) / max(average, 1)
    reached, times = 0.0, Counter(chunk)
    for word, weight in weights.items():
        reached += weight * times[word] * (SATURATION + 1) / (times[word] + SATURATION * length)
    return min(reached / most, 1.0)


def _weight(corpus: Corpus, word: str) -> float:
    """Return what a word tells: the rarer it is, the more. A word that no chunk has tells the most, and is missed."""
    having = corpus.having.get(word, 0)
    return math.log(1 + (max(corpus.chunks, having) - having + 0.5) / (having + 0.5))


def fused(words: float, similarity: float | None) -> float:
    """Return the score of a chunk from how well its words answer, and how similar its vector is to the query's.

    Both are on scales that mean the same for every query, so a sum keeps what ranks would lose: whether the best is any
    good. A chunk that has no vector is judged by its words alone.
    """
    if similarity is None:
        return words
    return MEANING_WEIGHT * min(max(similarity, 0.0), 1.0) + (1 - MEANING_WEIGHT) * words
