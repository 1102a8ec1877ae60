"""The process of the local model: llama.cpp's HTTP server on 127.0.0.1.

The first line of its input says what to load, as a JSON object with ``weights`` and ``key``; the first line of its
output is the server's address. It ends with its input, and so with whoever started it, however that one ended.
"""

import json
import sys
from importlib import import_module
from typing import Any

CONTEXT_TOKENS = 8192
"""What the model was trained for."""

COUNTED_TOKENS = 6000
"""The same as we count it, by OpenAI's vocabulary: that is larger, so texts have fewer tokens of it."""


def main() -> None:
    """Serve until the input ends."""
    order = json.loads(sys.stdin.readline())
    xllamacpp = import_module("xllamacpp")  # an optional package, without types
    server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), order["weights"], order["key"]))
    print(server.listening_address, flush=True)
    sys.stdin.read()


def _parameters(parameters: Any, weights: str, key: str) -> Any:
    parameters.model.path = weights
    parameters.api_keys = [key]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = False
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.n_threads_http = 8
    # So small a model gains nothing from a second thread, and the other processors have their own work.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    return parameters


if __name__ == "__main__":
    main()
