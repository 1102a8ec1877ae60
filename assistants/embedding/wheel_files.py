"""Files that come inside of installed packages, found without running those packages' code."""

from importlib.util import find_spec
from pathlib import Path

from lockstitch.errors import EmbedderMissing


def file_of(package: str, path: str, *, embedder: str) -> Path:
    """Return the path of a file inside an installed package.

    Raises `EmbedderMissing` where the package is not installed, or has no such file any more.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbedderMissing(embedder, f"the package {package} is not installed")
    found = Path(spec.origin).parent / path
    if not found.is_file():
        raise EmbedderMissing(embedder, f"the package {package} has no file {path}")
    return found
