"""What search needs of whatever turns text into vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector: TypeAlias = npt.NDArray[np.float32]
    """The vector of one text, of length 1, or 0 for a text in which there is nothing."""

    Vectors: TypeAlias = npt.NDArray[np.float32]
    """A vector in each row."""
else:  # NumPy comes with an extra, and who has no embedder needs none
    Vector = Vectors = Any


class Embedder(Protocol):
    """Turns text into vectors: the more two texts have to do with each other, the larger is their vectors' product.

    Works off the event loop, in batches, so that neither others nor the memory suffer however much text there is.
    Raises `EmbedderUnavailable` where it depends on somebody who does not answer.
    """

    name: str
    """Says which model it is and in which form: vectors of different names are never compared."""

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts in which something can be found, in their order."""
        ...

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a text that something is looked for with."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; may be called twice."""
        ...
