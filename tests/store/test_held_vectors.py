"""Vectors in memory: many of them are found through a graph, which may be older than they are."""

import subprocess
import sys

import numpy as np
import pytest

from lockstitch.assistants.store.held_vectors import EXACT_UP_TO, FileVectors, HeldVectors
from lockstitch.assistants.store.sqlite_vectors import SqliteVectorIndex
from lockstitch.assistants.store.vector_index import ChunkPlace

DIMENSIONS = 16
PER_FILE = 500
MANY = EXACT_UP_TO // PER_FILE + 1


def some_files(first, count, seed=0):
    """Files with vectors in random directions, numbered from ``first``."""
    random = np.random.default_rng(seed + first)
    vectors = random.standard_normal((count, PER_FILE, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return [FileVectors(first + at, 1000 + first + at, each.astype(np.float16)) for at, each in enumerate(vectors)]


def vector(seed=1):
    random = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return random / np.linalg.norm(random)


@pytest.fixture(scope="module")
def large():
    """More vectors than are all compared, with the graph made."""
    held = HeldVectors.of(some_files(1, MANY), DIMENSIONS)
    assert held.graph.ready.wait(60)
    return held


def exact(held, asked, limit):
    """The nearest by the plain definition."""
    rows = [(float(each @ asked), file.file_seq, at) for file in held.files for at, each in enumerate(file.vectors)]
    return [ChunkPlace(file_seq, at) for _, file_seq, at in sorted(rows, key=lambda row: (-row[0], *row[1:]))[:limit]]


def places(found):
    return [each.place for each in found]


def test_few_vectors_are_all_compared():
    held = HeldVectors.of(some_files(1, 2), DIMENSIONS)

    assert held.graph is None
    assert places(held.nearest(vector(), 20)) == exact(held, vector(), 20)


def test_the_graph_leads_to_nearly_all_of_the_nearest(large):
    found = [
        set(places(large.nearest(vector(seed), 100))[:20]) & set(exact(large, vector(seed), 20)) for seed in range(5)
    ]

    assert sum(map(len, found)) >= 95


def test_a_filter_is_no_matter_for_the_graph(large):
    few = [file.file_seq for file in large.files[3:5]]
    only = HeldVectors.of(large.files[3:5], DIMENSIONS)

    assert places(large.nearest(vector(), 20, few)) == exact(only, vector(), 20)


def test_what_came_and_went_since_the_graph_was_made_is_seen(large):
    first_file, _ = exact(large, vector(), 1)[0]
    left = [file for file in large.files if file.file_seq != first_file]
    changed = HeldVectors.of([*left, *some_files(5000, 1)], DIMENSIONS, graph=large.graph)

    assert changed.graph is large.graph
    found = places(changed.nearest(vector(), 100))[:20]
    assert len(set(found) & set(exact(changed, vector(), 20))) >= 19
    assert first_file not in {place.file_seq for place in found}


def test_a_graph_of_which_a_tenth_is_not_true_any_more_is_made_anew(large):
    changed = HeldVectors.of([*large.files, *some_files(5000, MANY // 8)], DIMENSIONS, graph=large.graph)

    assert changed.graph is not large.graph
    assert changed.graph.ready.wait(60)


def test_while_the_graph_is_made_all_vectors_are_compared(large):
    class Unfinished:
        def is_set(self):
            return False

    held = HeldVectors.of(large.files, DIMENSIONS, graph=large.graph)
    ready, held.graph.ready = held.graph.ready, Unfinished()
    try:
        assert places(held.nearest(vector(), 20)) == exact(held, vector(), 20)
    finally:
        held.graph.ready = ready


def test_nothing_is_found_where_nothing_is_held():
    held = HeldVectors.of([], DIMENSIONS)

    assert held.nearest(vector(), 5) == []
    assert held.similarities(vector(), [ChunkPlace(1, 0)]) == {}


def test_what_a_process_holds_has_a_bound():
    index = SqliteVectorIndex(memory=3 * PER_FILE * DIMENSIONS * 2)
    for at in range(5):
        index._keep((f"vs_{at}", "space"), (1, at), HeldVectors.of(some_files(at, 1), DIMENSIONS))

    assert list(index._held) == [("vs_2", "space"), ("vs_3", "space"), ("vs_4", "space")]
    assert repr(index) == "SqliteVectorIndex(3 stores, 1500 chunks)"


ENDS = """
from lockstitch.tests.store.test_held_vectors import DIMENSIONS, MANY, some_files
from lockstitch.assistants.store.held_vectors import HeldVectors
held = HeldVectors.of(some_files(1, 10 * MANY), DIMENSIONS)
print(held.graph.ready.is_set())
"""


def test_a_process_that_ends_does_not_wait_for_a_graph():
    ended = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False, timeout=60)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "False\n", "")
