"""Vectors of length 1, whose product is the cosine of the angle between them."""

import numpy as np

from lockstitch.assistants.embedding.embedder import Vectors


def unit_vectors(vectors: Vectors) -> Vectors:
    """Return each row with the length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return unit
