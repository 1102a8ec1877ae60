"""What a large upload costs the process that takes it."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

MEGABYTE = 1024 * 1024
SIZE = 200 * MEGABYTE
CACHES = 2 * 64 * MEGABYTE
"""What SQLite keeps of its pages, of the connection that writes and of the one that reads."""


def peak_memory(pid: int) -> int:
    """The most memory that the process ever held, in bytes."""
    [kib] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kib) * 1024


async def large_form() -> AsyncIterator[bytes]:
    yield b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    piece = os.urandom(MEGABYTE)
    for _ in range(SIZE // MEGABYTE):
        yield piece
    yield b"\r\n--x--\r\n"


async def test_a_large_file_is_taken_and_given_without_being_held_in_memory(stack):
    pid, size = stack.pid("server"), 0
    before = peak_memory(pid)
    async with httpx2.AsyncClient(base_url=stack.server_url, trust_env=False, timeout=60) as client:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/v1/files", content=large_form(), headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["bytes"] == SIZE
        path = f"/v1/files/{answer.json()['id']}"
        async with client.stream("GET", f"{path}/content") as content:
            async for piece in content.aiter_bytes():
                size += len(piece)
        await client.delete(path)

    assert size == SIZE
    assert peak_memory(pid) - before < CACHES + 32 * MEGABYTE
