"""WordLlama's static vectors of tokens: a text's vector is the mean of its tokens', which takes next to no time.

Importing this module needs the extra ``file-search``: import it only where the vectors are used. The package's own code
is not run: it sets up logging for the whole process, and fills up every text of a batch to the length of the longest.
"""

import asyncio
from collections.abc import Sequence
from typing import Self, cast

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from lockstitch.assistants.embedding.embedder import Vector, Vectors
from lockstitch.assistants.embedding.unit_vectors import unit_vectors
from lockstitch.assistants.embedding.wheel_files import file_of

BATCH = 64

_WEIGHTS = ("wordllama", "weights/l2_supercat_256.safetensors")
_VOCABULARY = ("wordllama", "tokenizers/l2_supercat_tokenizer_config.json")


class StaticVectors:
    """The table of vectors, in memory; about 35 MB."""

    name = "wordllama-l2-supercat-256"

    def __init__(self, table: Vectors, tokenizer: Tokenizer) -> None:
        self._table = table
        self._tokenizer = tokenizer

    @classmethod
    def load(cls) -> Self:
        """Read the vectors out of the installed package; raises `EmbedderMissing`."""
        weights, vocabulary = (file_of(package, path, embedder="static") for package, path in (_WEIGHTS, _VOCABULARY))
        tokenizer = Tokenizer.from_file(str(vocabulary))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        [table] = load_file(weights).values()
        return cls(table.astype(np.float32), tokenizer)

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, in their order."""
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        done = [await asyncio.to_thread(self._embed, batch) for batch in batches]
        return np.concatenate(done) if done else np.zeros((0, self._table.shape[1]), dtype=np.float32)

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query."""
        [vector] = await asyncio.to_thread(self._embed, [text])
        return cast("Vector", vector)

    async def aclose(self) -> None:
        """Do nothing: the memory is freed with the object."""

    def _embed(self, texts: Sequence[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return unit_vectors(np.array([self._mean(text.ids) for text in encoded]))

    def _mean(self, ids: Sequence[int]) -> Vector:
        if not ids:
            return np.zeros(self._table.shape[1], dtype=np.float32)
        mean: Vector = self._table[ids].mean(axis=0)
        return mean
