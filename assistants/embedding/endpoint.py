"""Vectors from any endpoint that has OpenAI's ``/embeddings``: OpenAI, Azure, vLLM, Ollama, llama.cpp.

Importing this module takes two seconds, because it imports openai: only import it where an endpoint is used.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import numpy as np
import openai
from openai.types import CreateEmbeddingResponse

from lockstitch.assistants.embedding.embedder import Vector, Vectors
from lockstitch.assistants.embedding.unit_vectors import unit_vectors
from lockstitch.errors import EmbedderUnavailable

BATCH = 32
"""So many texts go in one request: of 800 tokens each, far below what any endpoint takes at once."""


class EndpointEmbedder:
    """A model behind an endpoint. The SDK does not try again by itself; ``api_key`` may not be empty.

    ``dimensions`` asks for shorter vectors of models that can make them; 0 takes them as they come.
    """

    def __init__(self, *, base_url: str, api_key: str, model: str, dimensions: int, timeout: timedelta) -> None:
        self.name = f"endpoint/{model}" + (f"/{dimensions}" if dimensions else "")
        self._model = model
        self._dimensions = dimensions or openai.omit
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, timeout=timeout.total_seconds(), max_retries=0
        )
        # Where the constructor gets None, it reads the environment, and that is done elsewhere.
        self._client.organization = None
        self._client.project = None

    def __repr__(self) -> str:
        return f"EndpointEmbedder({str(self._client.base_url)!r}, model={self._model!r})"

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, in their order; raises `EmbedderUnavailable`."""
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        done = [await self._embed(batch) for batch in batches]
        return np.concatenate(done) if done else np.zeros((0, 0), dtype=np.float32)

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query; raises as `embed_passages` does."""
        [vector] = await self._embed([text])
        return cast("Vector", vector)

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        await self._client.close()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = await self._client.embeddings.create(
                model=self._model, input=list(texts), dimensions=self._dimensions, encoding_format="float"
            )
            return _vectors(answer, len(texts))
        except (openai.OpenAIError, ValueError) as error:
            raise EmbedderUnavailable(self.name, error) from error


def _vectors(answer: CreateEmbeddingResponse, count: int) -> Vectors:
    """Return the vectors in the order of the texts; raises `ValueError` for an answer in which they are not."""
    rows = sorted(answer.data, key=lambda row: row.index)
    if [row.index for row in rows] != list(range(count)):
        raise ValueError(f"the answer has {len(rows)} vectors for {count} texts")
    return unit_vectors(np.array([row.embedding for row in rows], dtype=np.float32))
