"""Embeddings over HTTP: what is asked for, in which order it comes back, and what is said of everything else."""

from contextlib import asynccontextmanager
from datetime import timedelta

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lockstitch.assistants.embedding.endpoint import BATCH
from lockstitch.assistants.embedding.opening import EmbeddingsEndpoint, open_embedder
from lockstitch.errors import EmbedderUnavailable
from lockstitch.testing.model_endpoint import serve


class Endpoint:
    """Answers with a vector of each text's length, the last text first."""

    def __init__(self, answer=None):
        self.asked = []
        self._answer = answer

    @asynccontextmanager
    async def embedder(self, **options):
        app = Starlette(routes=[Route("/v1/embeddings", self._embed, methods=["POST"])])
        async with serve(app) as origin:
            given = {"api_key": "sk-test", "model": "m", "dimensions": 0, "timeout": timedelta(seconds=5), **options}
            async with open_embedder("endpoint", EmbeddingsEndpoint(url=f"{origin}/v1", **given)) as embedder:
                yield embedder

    async def _embed(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append({**body, "key": request.headers["authorization"]})
        if self._answer is not None:
            return self._answer
        rows = [
            {"object": "embedding", "index": index, "embedding": [float(len(text)), 1.0]}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return JSONResponse({"object": "list", "model": "m", "data": rows[::-1], "usage": usage})


async def test_texts_are_asked_for_in_batches_and_come_back_in_their_order():
    endpoint, texts = Endpoint(), ["x" * length for length in range(1, BATCH + 3)]
    async with endpoint.embedder() as embedder:
        vectors = await embedder.embed_passages(texts)

    assert [len(asked["input"]) for asked in endpoint.asked] == [BATCH, 2]
    assert np.allclose(vectors[:, 0] / vectors[:, 1], range(1, BATCH + 3))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


async def test_a_query_asks_for_the_model_and_its_dimensions_with_the_key():
    endpoint = Endpoint()
    async with endpoint.embedder(dimensions=2) as embedder:
        vector = await embedder.embed_query("abc")

    [asked] = endpoint.asked
    assert (asked["model"], asked["dimensions"], asked["key"]) == ("m", 2, "Bearer sk-test")
    assert vector.shape == (2,)
    assert embedder.name == "endpoint/m/2"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (JSONResponse({"error": {"message": "no such model"}}, 404), "no such model"),
        (JSONResponse({"error": {"message": "busy"}}, 503), "busy"),
        (JSONResponse({"object": "list", "data": [], "model": "m"}), "no embedding|0 vectors for 1 texts|No embedding"),
    ],
)
async def test_whatever_else_it_answers_is_said_after_one_attempt(answer, said):
    endpoint = Endpoint(answer)
    async with endpoint.embedder() as embedder:
        with pytest.raises(EmbedderUnavailable, match=said):
            await embedder.embed_query("abc")
    assert len(endpoint.asked) == 1


async def test_an_endpoint_that_is_not_there_is_unavailable():
    nowhere = EmbeddingsEndpoint("http://127.0.0.1:9/v1", "", "m", 0, timedelta(seconds=5))
    async with open_embedder("endpoint", nowhere) as embedder:
        with pytest.raises(EmbedderUnavailable, match="onnect"):
            await embedder.embed_query("abc")
