"""Files that are broken, hostile, misnamed or gone, as programs meet them: a real worker and a real sandbox."""

import asyncio
import codecs
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import PurePath
from uuid import uuid4

import openai
import pytest

from lockstitch.activities.code_sessions import CodeSessions
from lockstitch.assistants.ingestion.documents import DocumentParser
from lockstitch.assistants.ingestion.parsing import DOCUMENT_SUFFIXES, MAX_BYTES, TextParser
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.config import Config
from lockstitch.sandbox.port import Limits
from lockstitch.sandbox.sandboxes import sandbox_of
from lockstitch.tests.written_compounds import doc, msg, ppt, xls
from lockstitch.tests.written_documents import (
    SENTENCE,
    docx,
    epub,
    ipynb,
    ods,
    odt,
    packed,
    pdf,
    pdf_of,
    png,
    pptx,
    xlsx_of,
)  # fmt: skip
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

CODE, SEARCH = {"type": "code_interpreter"}, {"type": "file_search"}
LOOK = {"type": "function", "function": {"name": "look"}}
CONTENT = "step_details.tool_calls[*].file_search.results[*].content"

CITES = "Two years【0:0†kettle.txt】【0:1†fridge.txt】."
FIND = {"name": "file_search", "arguments": {"query": "the warranty of the kettle and the fridge"}}

PROGRAMS = {
    "prints much": "for _ in range(100):\n    print('x' * 1_000_000)",
    "prints bytes": "import sys\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stdout.buffer.flush()",
    "prints half a character": "print('a\\0b', '\\ud800c')",
    "returns bytes": "bytes(range(256)) * 100_000",
    "saves bytes": "open('all.bin', 'wb').write(bytes(range(256)))",
}

SCRIPT = [
    {"when": "warranty", "round": 0, "call": [FIND]},
    {"when": "and wait", "round": 1, "call": [{"name": "look", "arguments": {}}]},
    {"when": "warranty", "say": CITES},
    *({"when": name, "round": 0, "call": [{"name": "code_interpreter", "arguments": {"code": code}}]}
      for name, code in PROGRAMS.items()),
    {"say": "Done."},
]  # fmt: skip


class HeldParser:
    """Reads files as the ``parser`` does, and those that are called ``held...`` not before somebody lets them go."""

    def __init__(self, parser):
        self._parser = parser
        self.begun, self.go = defaultdict(asyncio.Event), defaultdict(asyncio.Event)

    async def parse(self, filename, content):
        if filename.startswith("held"):
            self.begun[filename].set()
            await self.go[filename].wait()
        return await self._parser.parse(filename, content)


@pytest.fixture(scope="module")
async def sandbox():
    opened = sandbox_of("sandlock", limits=Limits(), warm=1)
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def parser(sandbox):
    return HeldParser(DocumentParser(sandbox, TextParser()))


@pytest.fixture(scope="module")
async def sdk(temporal, make_database, serve, sandbox, parser):
    """The SDK on a server of its own, whose worker reads documents, runs code and searches files."""
    queue = f"test-{uuid4()}"
    async with AsyncExitStack() as stack:
        url = stack.enter_context(make_database())
        server = await stack.enter_async_context(serve(temporal, url, task_queue=queue, runs_code=True))
        code = CodeSessions(server.database, sandbox, Limits(), f"{queue}-code-here")
        parts = (temporal, Config(task_queue=queue, sandbox="sandlock"), server.database, ScriptedModel(SCRIPT))
        code = await stack.enter_async_context(code)
        for worker in build_workers(*parts, ToolRegistry(), code=code, parser=parser):
            await stack.enter_async_context(worker)
        opened = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0)
        yield await stack.enter_async_context(opened)


@pytest.fixture
async def store(sdk):
    return await sdk.vector_stores.create()


@pytest.fixture
def ingest(sdk, store):
    """Put files into the store together, and return what became of each, by its name."""

    async def add(contents):
        batches = sdk.vector_stores.file_batches
        done = await batches.upload_and_poll(store.id, files=list(contents.items()), poll_interval_ms=50)
        added = [file async for file in sdk.vector_stores.files.list(store.id)]
        assert len(added) == done.file_counts.total == len(contents)
        return {(await sdk.files.retrieve(file.id)).filename: file for file in added}

    return add


@pytest.fixture
def ask(sdk):
    """Ask something on a new thread, and return the run."""

    async def say(text, *, tools, store_id=None, attachments=(), polls=True):
        resources = {"file_search": {"vector_store_ids": [store_id]}} if store_id else {}
        assistant = await sdk.beta.assistants.create(model="script", tools=tools, tool_resources=resources)
        message = {"role": "user", "content": text, "attachments": list(attachments)}
        thread = await sdk.beta.threads.create(messages=[message])
        runs = sdk.beta.threads.runs
        if not polls:
            return await runs.create(thread.id, assistant_id=assistant.id)
        return await runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=20)

    return say


async def calls_of(sdk, run, **options):
    steps = await sdk.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc", **options)
    return [call for step in steps.data if step.type == "tool_calls" for call in step.step_details.tool_calls]


async def answer_to(sdk, run):
    return (await sdk.beta.threads.messages.list(run.thread_id, run_id=run.id)).data[0].content[0].text


KINDS = {
    "a.csv": f"said,by\n{SENTENCE},us\n".encode(),
    "a.doc": doc(),
    "a.docx": docx(),
    "a.eml": f"Subject: Refunds\n\n{SENTENCE}\n".encode(),
    "a.epub": epub(),
    "a.html": f"<h1>Refunds</h1><p>{SENTENCE}".encode(),
    "a.ipynb": ipynb(),
    "a.json": f'{{"said": "{SENTENCE}"}}'.encode(),
    "a.msg": msg(),
    "a.ods": ods(),
    "a.odt": odt(),
    "a.pdf": pdf(),
    "a.ppt": ppt(),
    "a.pptx": pptx(),
    "a.rtf": rb"{\rtf1\ansi A refund is paid \b within\b0  fourteen days.}",
    "a.xls": xls(),
    "a.xlsx": xlsx_of(megabytes=0),
    "latin.txt": f"Grüße. {SENTENCE}".encode("latin-1"),
    "windows.txt": f"“Grüße.” {SENTENCE}".encode("cp1252"),
    "utf-16.txt": f"Grüße. {SENTENCE}".encode("utf-16"),
    "big-endian.txt": codecs.BOM_UTF16_BE + f"Grüße. {SENTENCE}".encode("utf-16-be"),
}


async def test_every_kind_of_file_and_encoding_is_read(sdk, store, ingest):
    added = await ingest(KINDS)

    assert {name: (file.status, file.last_error) for name, file in added.items()} == dict.fromkeys(
        KINDS, ("completed", None)
    )
    assert {PurePath(name).suffix for name in KINDS} >= DOCUMENT_SUFFIXES
    for name, file in added.items():
        page = await sdk.vector_stores.files.content(file.id, vector_store_id=store.id)
        text = " ".join("".join(part.text for part in page.data).split())
        assert SENTENCE in text, name
        assert "\ufffd" not in text, name
        assert ("Grüße" in text) is name.endswith(".txt")


NOT_TEXT = "The file is not text."
NO_TEXT = "The file has no text in it"
NOT_AS_NAMED = "The file cannot be read as what its name says it is: "
BROKEN = {
    "cut.pdf": (pdf()[:3000], NOT_AS_NAMED),
    "garbage.pdf": (b"%PDF-1.7\n" + bytes(range(256)) * 40, NOT_AS_NAMED),
    "picture.pdf": (png(), NOT_AS_NAMED),
    "text.pdf": (SENTENCE.encode(), NOT_AS_NAMED),
    "blank.pdf": (pdf(text=""), NO_TEXT),
    "cut.docx": (docx()[:400], NOT_AS_NAMED),
    "page.docx": (pdf(), NOT_AS_NAMED),
    "text.docx": (SENTENCE.encode(), NOT_AS_NAMED),
    "other.docx": (odt(), NOT_AS_NAMED),
    "bare.docx": (packed({}), NOT_AS_NAMED),
    "bare.xlsx": (packed({"a": "b"}), NOT_AS_NAMED),
    "text.xls": (SENTENCE.encode(), NOT_AS_NAMED),
    "text.msg": (SENTENCE.encode(), NOT_AS_NAMED),
    "nested.ipynb": (b"[" * 1_000_000, NOT_AS_NAMED),
    "picture.eml": (png(), NO_TEXT),
    "picture.rtf": (png(), "The file does not begin as files with the extension .rtf do."),
    "picture.txt": (png(), NOT_TEXT),
    "page.txt": (pdf(), "The file is a PDF whose name does not end in .pdf; name it so."),
    "office.txt": (docx(), NOT_TEXT),
    "utf-16.txt": (SENTENCE.encode("utf-16-le"), NOT_TEXT),
    "unclosed.html": (b"<a " * 200_000, NO_TEXT),
    "empty.txt": (b"", NO_TEXT),
    "white.txt": (b" \r\n\t\n", NO_TEXT),
    "empty.pdf": (b"", "The file is empty."),
    "white.pdf": (b" \r\n\t\n", NOT_AS_NAMED),
    "white.docx": (docx(text=" "), NO_TEXT),
    "large.txt": (b"a" * (MAX_BYTES + 1), f"The file has {MAX_BYTES + 1} bytes; at most {MAX_BYTES} are read."),
}  # fmt: skip


async def test_every_broken_file_fails_with_a_reason_and_none_is_in_the_way_of_another(sdk, store, ingest):
    contents = {name: content for name, (content, _) in BROKEN.items()}
    added = await ingest({**contents, "good.txt": SENTENCE.encode()})

    good = added.pop("good.txt")
    said = {name: (file.status, file.last_error.code, file.last_error.message) for name, file in added.items()}
    assert good.status == "completed"
    assert {name: found for name, found in said.items() if found[:2] != ("failed", "invalid_file")} == {}
    assert {name: told for name, (*_, told) in said.items() if not told.startswith(BROKEN[name][1])} == {}
    assert {name: told for name, (*_, told) in said.items() if "\n" in told or len(told) > 400} == {}
    found = await sdk.vector_stores.search(store.id, query=SENTENCE)
    assert {result.file_id for result in found.data} == {good.id}
    assert (await sdk.vector_stores.retrieve(store.id)).usage_bytes == len(SENTENCE)


async def test_bombs_go_off_in_the_sandbox_alone(sdk, store, ingest):
    too_much = "The file takes more than may be used to read it"
    bombs = {
        "bomb.docx": (docx(megabytes=1024), f"{NOT_AS_NAMED}DOCX parsing failed: Security limit exceeded"),
        "bomb.xlsx": (xlsx_of(megabytes=1200), too_much),
        "bomb.pdf": (pdf_of(megabytes=2048), too_much),
    }
    assert max(len(content) for content, _ in bombs.values()) < 10_000_000
    added = await ingest({name: content for name, (content, _) in bombs.items()} | {"good.docx": docx()})

    assert added.pop("good.docx").status == "completed"
    assert {file.last_error.code for file in added.values()} == {"invalid_file"}
    said = {name: file.last_error.message for name, file in added.items()}
    assert {name: told for name, told in said.items() if not told.startswith(bombs[name][1])} == {}
    assert (await sdk.vector_stores.retrieve(store.id)).usage_bytes == len(SENTENCE)


async def test_a_file_that_is_deleted_while_it_is_read_leaves_nothing(sdk, store, parser):
    """The next file of the batch is read when the one that was deleted is through."""
    name = f"held-{uuid4()}.docx"
    held = await sdk.files.create(file=(name, docx()), purpose="assistants")
    after = await sdk.files.create(file=("after.txt", b"Apples."), purpose="assistants")
    batch = await sdk.vector_stores.file_batches.create(store.id, file_ids=[held.id, after.id])
    await parser.begun[name].wait()
    await sdk.files.delete(held.id)
    parser.go[name].set()
    done = await sdk.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id, poll_interval_ms=50)

    assert (done.status, done.file_counts.completed, done.file_counts.total) == ("completed", 1, 1)
    found = await sdk.vector_stores.search(store.id, query=f"{SENTENCE} apples")
    assert [result.filename for result in found.data] == ["after.txt"]
    assert [each.id async for each in sdk.vector_stores.files.list(store.id)] == [after.id]


@pytest.fixture
async def shelf(ingest):
    """The ids of two files in the store, by their names."""
    texts = {"kettle.txt": b"The warranty of the kettle.", "fridge.txt": b"The warranty of the fridge: ten years."}
    return {name: file.id for name, file in (await ingest(texts)).items()}


async def test_a_file_that_is_deleted_while_a_search_waits_is_not_found_and_not_cited(
    sdk, store, shelf, ask, parser, eventually
):
    """The search waits for files of the thread; both one that it waits for and one that is there already go."""
    name = f"held-{uuid4()}.docx"
    held = await sdk.files.create(file=(name, docx()), purpose="assistants")
    attached = [{"file_id": held.id, "tools": [SEARCH]}]
    run = await ask("The warranty?", tools=[SEARCH], store_id=store.id, attachments=attached, polls=False)
    await parser.begun[name].wait()
    await eventually(lambda: calls_of(sdk, run))
    for file_id in (shelf["kettle.txt"], held.id):  # as the one that it waits for is gone, it goes on
        await sdk.files.delete(file_id)
    parser.go[name].set()
    run = await sdk.beta.threads.runs.poll(run.id, thread_id=run.thread_id, poll_interval_ms=20)

    [call], answer = await calls_of(sdk, run), await answer_to(sdk, run)
    assert (run.status, [found.file_name for found in call.file_search.results]) == ("completed", ["fridge.txt"])
    assert (answer.value, answer.annotations) == (CITES, [])


async def test_a_file_that_is_deleted_before_the_answer_is_not_cited_and_its_mark_is_text(sdk, store, shelf, ask):
    waiting = await ask("The warranty, and wait.", tools=[SEARCH, LOOK], store_id=store.id)
    await sdk.files.delete(shelf["kettle.txt"])
    [asked] = waiting.required_action.submit_tool_outputs.tool_calls
    run = await sdk.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=waiting.id,
        thread_id=waiting.thread_id,
        tool_outputs=[{"tool_call_id": asked.id, "output": "looked"}],
        poll_interval_ms=20,
    )

    answer, [searched, _] = await answer_to(sdk, run), await calls_of(sdk, run)
    assert (run.status, answer.value) == ("completed", CITES)
    assert [note.file_citation.file_id for note in answer.annotations] == [shelf["fridge.txt"]]
    assert {found.file_id for found in searched.file_search.results} == set(shelf.values())


async def test_a_citation_stays_when_its_file_is_deleted_later(sdk, store, shelf, ask):
    run = await ask("The warranty?", tools=[SEARCH], store_id=store.id)
    await sdk.files.delete(shelf["kettle.txt"])

    assert {note.file_citation.file_id for note in (await answer_to(sdk, run)).annotations} == set(shelf.values())
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        await sdk.files.retrieve(shelf["kettle.txt"])


async def test_filters_on_what_no_file_has_find_nothing_or_all(sdk, store, shelf):
    async def found(kind, value):
        condition = {"type": kind, "key": "no such attribute", "value": value}
        return len((await sdk.vector_stores.search(store.id, query="warranty", filters=condition)).data)

    assert [await found(kind, 1) for kind in ("eq", "gt", "gte", "lt", "lte")] == [0] * 5
    assert [await found(*each) for each in (("in", [1]), ("ne", 1), ("nin", [1]))] == [0, 2, 2]


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
async def test_a_threshold_out_of_range_is_refused(sdk, store, threshold):
    with pytest.raises(openai.BadRequestError, match="Expected a value") as refused:
        await sdk.vector_stores.search(store.id, query="a", ranking_options={"score_threshold": threshold})
    assert refused.value.param == "ranking_options.score_threshold"


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("prints much", "x" * 1000),
        ("prints bytes", "abcdefghijklmnopqrstuvwxyz"),
        ("prints half a character", "a\0b ?c\n"),
        ("returns bytes", r"b'\x00\x01"),
        ("saves bytes", "256\n"),
    ],
)
async def test_code_that_prints_without_end_or_no_text_ends_well(sdk, ask, program, shown):
    run = await ask(f"It {program}.", tools=[CODE])

    [call] = await calls_of(sdk, run)
    [output] = call.code_interpreter.outputs
    assert run.status == "completed"
    assert shown in output.logs
    assert len(output.logs) < Limits().output + 1000


async def test_where_no_sandbox_works_code_and_documents_are_refused_and_text_is_read(ingesting):
    assistant = await ingesting.beta.assistants.create(model="script", tools=[CODE])
    thread = await ingesting.beta.threads.create(messages=[{"role": "user", "content": "Compute."}])
    with pytest.raises(openai.BadRequestError, match="LOCKSTITCH_SANDBOX") as refused:
        await ingesting.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    store = await ingesting.vector_stores.create()
    batch = await ingesting.vector_stores.file_batches.upload_and_poll(
        store.id, files=[("a.docx", docx()), ("a.txt", SENTENCE.encode())], poll_interval_ms=50
    )
    [failed] = (await ingesting.vector_stores.files.list(store.id, filter="failed")).data

    assert refused.value.code == "unsupported_tool"
    assert (batch.file_counts.completed, failed.last_error.code) == (1, "unsupported_file")
    assert "LOCKSTITCH_SANDBOX" in failed.last_error.message
