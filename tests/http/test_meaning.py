"""Searching by meaning over HTTP, with the stock SDK."""

from datetime import timedelta
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI

from lockstitch.assistants.embedding.opening import EmbeddingsEndpoint, open_embedder
from lockstitch.assistants.embedding.static import StaticVectors
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.config import Config
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

FILES = [
    ("refunds.txt", b"A refund is paid within fourteen days after the goods came back."),
    ("parking.txt", b"Employees park their cars behind the building."),
]
QUESTION = "How long until customers get their money returned?"


@pytest.fixture
async def embedding(temporal, another_server):
    """The SDK on a server and a worker that embed."""
    embedder, queue = StaticVectors.load(), f"test-{uuid4()}"
    async with another_server(task_queue=queue, embedder=embedder) as up:
        semantics = Semantics(embedder, await open_vector_index(up.database, upgrades=True))
        parts = (temporal, Config(task_queue=queue), up.database, OfflineModel(), ToolRegistry())
        runs, files = build_workers(*parts, semantics=semantics)
        async with runs, files, AsyncOpenAI(base_url=f"{up.url}/v1", api_key="anything", max_retries=0) as sdk:
            yield sdk


async def test_what_was_uploaded_is_found_by_a_question_in_other_words(embedding):
    store = await embedding.vector_stores.create()
    await embedding.vector_stores.file_batches.upload_and_poll(store.id, files=FILES)

    found = (await embedding.vector_stores.search(store.id, query=QUESTION)).data
    assert [each.filename for each in found] == ["refunds.txt", "parking.txt"]
    assert 0 < found[1].score < found[0].score < 1
    threshold = {"score_threshold": (found[0].score + found[1].score) / 2}
    above = (await embedding.vector_stores.search(store.id, query=QUESTION, ranking_options=threshold)).data
    assert [each.filename for each in above] == ["refunds.txt"]


async def test_an_embeddings_endpoint_that_is_away_is_told_as_a_passing_trouble(another_server):
    nowhere = EmbeddingsEndpoint("http://127.0.0.1:9/v1", "sk-secret", "m", 0, timedelta(seconds=5))
    async with (
        open_embedder("endpoint", nowhere) as embedder,
        another_server(embedder=embedder) as up,
        AsyncOpenAI(base_url=f"{up.url}/v1", api_key="anything", max_retries=0) as sdk,
    ):
        store = await sdk.vector_stores.create()
        with pytest.raises(openai.InternalServerError, match="unable to reach the model") as refused:
            await sdk.vector_stores.search(store.id, query=QUESTION)
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.search("vs_none", query=QUESTION)
    assert refused.value.status_code == 503
