"""The vectors of one vector store in memory, and what is most similar to another among them."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from usearch.compiled import MetricKind
from usearch.index import Index, search

from lockstitch.assistants.embedding.embedder import Vector
from lockstitch.assistants.store.vector_index import ChunkPlace, Near

EXACT_UP_TO = 20_000
"""So many vectors are all compared, in a few milliseconds; more get a graph that leads to the nearest (HNSW)."""

STALE = 0.1
"""Where more than such a part of the vectors has come or gone since the graph was made, it is made anew."""

EXPANSION = 256
"""How many vectors a search of a graph keeps in view: usearch's own 64 miss one in twenty of a hundred thousand."""

_AT_ONCE = 500
"""Vectors that are added to a graph in one go; a process that ends waits for no more."""

_POSITIONS = 2**24
"""More chunks than any file has."""

HalfVectors = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class FileVectors:
    """The vectors of one file: the number of their row, which is never another's, and that of the file."""

    seq: int
    file_seq: int
    vectors: HalfVectors


@dataclass(slots=True)
class Graph:
    """An index of the vectors of some files; made on a thread, and not changed any more once it is ``ready``."""

    seqs: frozenset[int]
    rows: int
    index: Index
    ready: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def made_of(cls, files: Sequence[FileVectors], dimensions: int) -> Self:
        """Begin to make the graph."""
        index = Index(ndim=dimensions, metric=MetricKind.IP, dtype="f16", expansion_search=EXPANSION)
        graph = cls(frozenset(file.seq for file in files), sum(len(file.vectors) for file in files), index)
        threading.Thread(target=graph._make, args=(files,), name="vector-graph").start()
        return graph

    def _make(self, files: Sequence[FileVectors]) -> None:
        for file in files:
            for start in range(0, len(file.vectors), _AT_ONCE):
                if not threading.main_thread().is_alive():  # the process ends, and would otherwise wait for this
                    return
                piece = file.vectors[start : start + _AT_ONCE]
                keys = file.seq * _POSITIONS + start + np.arange(len(piece), dtype=np.uint64)
                self.index.add(keys, piece, threads=1)
        self.ready.set()


class HeldVectors:
    """The vectors of a store as one transaction saw them; never changed, so any number of threads may search."""

    def __init__(self, files: Sequence[FileVectors], dimensions: int, graph: Graph | None) -> None:
        nothing = np.zeros((0, dimensions), dtype=np.float16)
        counts = [len(file.vectors) for file in files]
        self._matrix: HalfVectors = np.concatenate([nothing, *(file.vectors for file in files)])
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[:-1]
        self._file_of_row = np.repeat(np.arange(len(files)), counts)
        # Parts of the matrix, so that what was read is not in memory twice.
        parts = (self._matrix[start : start + count] for start, count in zip(self._starts, counts, strict=True))
        self.files = [FileVectors(file.seq, file.file_seq, part) for file, part in zip(files, parts, strict=True)]
        self.dimensions = dimensions
        self.graph = graph

    @classmethod
    def of(cls, files: Sequence[FileVectors], dimensions: int, *, graph: Graph | None = None) -> Self:
        """Hold the vectors of these files, with a graph from before where it still serves, or a new one."""
        held = cls(files, dimensions, graph)
        if len(held) <= EXACT_UP_TO:
            held.graph = None
        elif graph is None or (graph.ready.is_set() and held._is_stale(graph)):
            held.graph = Graph.made_of(held.files, dimensions)
        return held

    def __len__(self) -> int:
        return len(self._matrix)

    @property
    def size(self) -> int:
        """Bytes of memory; a graph takes about half as much again as the vectors, and has them too."""
        return self._matrix.nbytes if self.graph is None else self._matrix.nbytes * 5 // 2

    def nearest(self, vector: Vector, limit: int, file_seqs: Collection[int] | None = None) -> list[Near]:
        """Return the chunks whose vectors are most similar, the best first."""
        if file_seqs is not None:
            meant = np.isin(np.array([file.file_seq for file in self.files], dtype=np.int64), list(file_seqs))
            rows = self._exact(vector, limit, np.flatnonzero(meant[self._file_of_row]))
        elif self.graph is not None and self.graph.ready.is_set():
            rows = self._by_graph(self.graph, vector, limit)
        else:
            rows = self._exact(vector, limit)
        return self._near(vector, rows, limit)

    def similarities(self, vector: Vector, places: Collection[ChunkPlace]) -> Mapping[ChunkPlace, float]:
        """Return how similar chunks are; one that is not held is left out."""
        rows = {place: self._row(place) for place in places}
        there = {place: row for place, row in rows.items() if row is not None}
        products = self._products(vector, np.array(list(there.values()), dtype=np.int64))
        return dict(zip(there, products.tolist(), strict=True))

    def _row(self, place: ChunkPlace) -> int | None:
        index = self._by_file_seq.get(place.file_seq)
        if index is None or place.position >= len(self.files[index].vectors):
            return None
        return int(self._starts[index]) + place.position

    @cached_property
    def _by_file_seq(self) -> Mapping[int, int]:
        return {file.file_seq: index for index, file in enumerate(self.files)}

    @cached_property
    def _by_seq(self) -> Mapping[int, int]:
        return {file.seq: index for index, file in enumerate(self.files)}

    def _exact(self, vector: Vector, limit: int, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
        """Compare with all vectors, or those of ``rows``, and return the rows of the most similar."""
        matrix = self._matrix if rows is None else self._matrix[rows]
        if not len(matrix):
            return np.zeros(0, dtype=np.int64)
        found = search(matrix, vector.astype(np.float16), min(limit, len(matrix)), MetricKind.IP, exact=True, threads=1)
        keys = found.keys.astype(np.int64)
        return keys if rows is None else rows[keys]

    def _by_graph(self, graph: Graph, vector: Vector, limit: int) -> npt.NDArray[np.int64]:
        """Let the graph lead to the most similar; what came since is compared one by one, what went is left out."""
        keys = graph.index.search(vector.astype(np.float16), limit, threads=1).keys
        led_to = [self._row_of_key(int(key)) for key in keys]
        new = [index for index, file in enumerate(self.files) if file.seq not in graph.seqs]
        rows = np.flatnonzero(np.isin(self._file_of_row, new)) if new else np.zeros(0, dtype=np.int64)
        still_there = np.array([row for row in led_to if row is not None], dtype=np.int64)
        return np.concatenate([still_there, self._exact(vector, limit, rows)])

    def _row_of_key(self, key: int) -> int | None:
        index = self._by_seq.get(key // _POSITIONS)
        return None if index is None else int(self._starts[index]) + key % _POSITIONS

    def _is_stale(self, graph: Graph) -> bool:
        kept = sum(len(file.vectors) for file in self.files if file.seq in graph.seqs)
        return max(len(self) - kept, graph.rows - kept) > STALE * graph.rows

    def _near(self, vector: Vector, rows: npt.NDArray[np.int64], limit: int) -> list[Near]:
        products = self._products(vector, rows)
        best = np.lexsort((rows, -products))[:limit]
        return [Near(self._place(int(rows[at])), float(products[at])) for at in best]

    def _place(self, row: int) -> ChunkPlace:
        index = int(self._file_of_row[row])
        return ChunkPlace(self.files[index].file_seq, row - int(self._starts[index]))

    def _products(self, vector: Vector, rows: npt.NDArray[np.int64]) -> Vector:
        products: Vector = self._matrix[rows].astype(np.float32) @ vector
        return products
