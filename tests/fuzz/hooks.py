"""Lets most of the fuzzed requests meet objects that exist: with made-up ids, nearly all would end at a 404."""

import os
import random
import threading
import time

import requests
import schemathesis

SERVER = os.environ["FUZZED_SERVER"]
HEADERS = {"openai-beta": "assistants=v2"}
CHANCE = random.SystemRandom()
"""Not the one that the fuzzer seeds."""

LIFETIME = 25
"""After so many requests new objects are made, for some of the old ones have been deleted or have ended by then."""

FUNCTION = {"type": "function", "function": {"name": "get_weather"}}
ASKS = {"messages": [{"role": "user", "content": "What is the weather?"}]}


def post(path, **sent):
    answer = requests.post(SERVER + path, headers=HEADERS, timeout=60, **sent)
    answer.raise_for_status()
    return answer.json()


def get(path):
    return requests.get(SERVER + path, headers=HEADERS, timeout=60).json()


def living_objects():
    """Make one object of each kind: a run that asks for outputs, and what belongs to it."""
    assistant = post("/assistants", json={"model": "offline", "tools": [FUNCTION]})
    run = post("/threads/runs", json={"assistant_id": assistant["id"], "thread": ASKS})
    path = f"/threads/{run['thread_id']}"
    deadline = time.monotonic() + 30
    while (run := get(f"{path}/runs/{run['id']}"))["status"] != "requires_action" and time.monotonic() < deadline:
        time.sleep(0.05)
    file = post("/files", files={"file": ("a.txt", b"1")}, data={"purpose": "assistants"})
    return {
        "assistant_id": assistant["id"],
        "thread_id": run["thread_id"],
        "run_id": run["id"],
        "message_id": get(f"{path}/messages")["data"][0]["id"],
        "step_id": get(f"{path}/runs/{run['id']}/steps")["data"][0]["id"],
        "file_id": file["id"],
        "tool_call_id": run["required_action"]["submit_tool_outputs"]["tool_calls"][0]["id"],
    }


class Living:
    """The objects of one thread of the fuzzer, made anew from time to time."""

    def __init__(self):
        self.uses = 0
        self.ids = {}

    def current(self):
        if self.uses % LIFETIME == 0:
            self.ids = living_objects()
        self.uses += 1
        return self.ids


_local = threading.local()


def current_ids():
    if not hasattr(_local, "living"):
        _local.living = Living()
    return _local.living.current()


def put_ids(fields, ids):
    """Put living ids in the place of generated texts."""
    for name in fields if isinstance(fields, dict) else ():
        if name in ids and isinstance(fields[name], str):
            fields[name] = ids[name]


@schemathesis.hook
def before_call(context, case, kwargs):
    if CHANCE.random() < 0.25:
        return
    ids = current_ids()
    put_ids(case.path_parameters, ids)
    put_ids(case.body, ids)
    outputs = case.body.get("tool_outputs") if isinstance(case.body, dict) else None
    for output in outputs if isinstance(outputs, list) else ():
        put_ids(output, ids)
    kind = case.operation.path.rpartition("/")[2].rstrip("s")
    if f"{kind}_id" in ids and CHANCE.random() < 0.5:
        put_ids(case.query, {"after": ids[f"{kind}_id"], "before": ids[f"{kind}_id"]})
