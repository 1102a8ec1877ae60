"""The two examples with which people learn the built-in tools, unchanged: the stock SDK, its environment, nothing else.

They run on what `lockstitch dev` starts where no key is set: the offline model, the sandbox, embedded vectors.
"""

import io
import os
import signal

import openai
import pytest
from PIL import Image

from lockstitch.dev import DevOptions, DevStack

pytestmark = pytest.mark.long

MONTHS = {"Jan": 120, "Feb": 96, "Mar": 180}
SALES = "date,product,sales\n" + "".join(
    f"2026-{number:02d}-{day:02d},kettle,{total // 2}\n"
    for number, total in enumerate(MONTHS.values(), 1)
    for day in (3, 17)
)
HANDBOOK = """\
Orders can be returned within thirty days of delivery.

The warranty of every kettle is two years from the day of purchase.

Delivery to Norway takes five working days and costs twelve euros.
"""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory):
    settings = {"LOCKSTITCH_MODEL": "offline", "LOCKSTITCH_TOOLS": ""}
    folder = tmp_path_factory.mktemp("examples")
    options = DevOptions(folder, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as started:
        yield started


@pytest.fixture
async def client(stack, monkeypatch):
    """What `openai.AsyncOpenAI()` is where the two variables are set."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stack.server_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "anything")
    async with openai.AsyncOpenAI() as stock:
        yield stock


async def test_a_data_analyst_charts_the_sales_of_a_table(client):
    assistant = await client.beta.assistants.create(
        name="Data Analyst",
        instructions="You analyze data and answer questions about it.",
        model="gpt-4o",
        tools=[{"type": "code_interpreter"}, {"type": "file_search"}],
    )
    file = await client.files.create(file=("sales_data.csv", SALES.encode()), purpose="assistants")
    thread = await client.beta.threads.create()
    await client.beta.threads.messages.create(
        thread_id=thread.id,
        role="user",
        content="Analyze this CSV and create a chart of sales by month",
        attachments=[{"file_id": file.id, "tools": [{"type": "code_interpreter"}]}],
    )
    run = await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    messages = await client.beta.threads.messages.list(thread_id=thread.id)

    assert run.status == "completed", run.last_error
    [text] = messages.data[0].content
    for month, total in MONTHS.items():
        assert month in text.text.value
        assert str(total) in text.text.value
    [link] = text.text.annotations
    chart = (await client.files.content(link.file_path.file_id)).read()
    with Image.open(io.BytesIO(chart)) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200
    [drawn] = [code for code in await code_of(client, run) if "savefig" in code]
    assert "month" in drawn


async def code_of(client, run):
    steps = await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc")
    calls = [call for step in steps.data if step.type == "tool_calls" for call in step.step_details.tool_calls]
    return [call.code_interpreter.input for call in calls if call.type == "code_interpreter"]


async def test_a_question_is_answered_from_a_knowledge_base_with_citations(client):
    file = await client.files.create(file=("handbook.txt", HANDBOOK.encode()), purpose="assistants")
    store = await client.vector_stores.create(name="knowledge_base")
    added = await client.vector_stores.files.create_and_poll(vector_store_id=store.id, file_id=file.id)
    assistant = await client.beta.assistants.create(
        instructions="Answer from the knowledge base.",
        model="gpt-4o",
        tools=[{"type": "file_search"}],
        tool_resources={"file_search": {"vector_store_ids": [store.id]}},
    )
    thread = await client.beta.threads.create(
        messages=[{"role": "user", "content": "How long is the warranty of a kettle?"}]
    )
    run = await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    [text] = (await client.beta.threads.messages.list(thread_id=thread.id)).data[0].content

    assert (added.status, run.status) == ("completed", "completed")
    assert "two years" in text.text.value
    assert text.text.annotations
    for annotation in text.text.annotations:
        assert text.text.value[annotation.start_index : annotation.end_index] == annotation.text
        assert annotation.file_citation.file_id == file.id


async def test_a_worker_killed_while_code_runs_leaves_nothing_behind_and_the_run_ends(stack, client, eventually):
    """The code is run again in a new session, and the model is told that it is one."""
    assistant = await client.beta.assistants.create(model="gpt-4o", tools=[{"type": "code_interpreter"}])
    thread = await client.beta.threads.create(messages=[{"role": "user", "content": "Run ```python\nkept = 1\n```"}])
    await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    text = "Run ```python\nimport time\ntime.sleep(4)\nprint('kept' in globals())\n```"
    await client.beta.threads.messages.create(thread.id, role="user", content=text)
    run = await client.beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant.id)

    async def code_has_come() -> bool:
        return bool(await code_of(client, run))

    await eventually(code_has_come)
    os.kill(stack.pid("worker"), signal.SIGKILL)
    ended = await client.beta.threads.runs.poll(run_id=run.id, thread_id=thread.id, timeout=90)
    steps = await client.beta.threads.runs.steps.list(run.id, thread_id=thread.id, order="asc")
    [call] = [call for step in steps.data if step.type == "tool_calls" for call in step.step_details.tool_calls]

    assert ended.status == "completed"
    [logs] = [output.logs for output in call.code_interpreter.outputs]
    assert logs.startswith("Note: this is a new session.")
    assert logs.endswith("False\n")
