"""The published description of the Assistants API, which our server and the tests' upstream are held to."""

from pathlib import Path
from typing import Any

import yaml

_PATH = Path(__file__).parent / "data" / "assistants-openapi.yaml"

# The loader in C takes a quarter of the time.
API_DESCRIPTION: dict[str, Any] = yaml.load(_PATH.read_text(), yaml.CSafeLoader)
