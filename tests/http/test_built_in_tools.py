"""The built-in tools as programs meet them: a real worker, a real sandbox, and a model that follows a script."""

import asyncio
import json
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx2
import openai
import pytest

from lockstitch.activities.code_sessions import CodeSessions
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.config import Config
from lockstitch.sandbox.port import Limits
from lockstitch.sandbox.sandboxes import sandbox_of
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

CODE, SEARCH = {"type": "code_interpreter"}, {"type": "file_search"}
WEATHER = {"type": "function", "function": {"name": "get_weather"}}
CONTENT = "step_details.tool_calls[*].file_search.results[*].content"

PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.show()
open("notes.txt", "w").write("kept")
"""

LOOK_AROUND = "import os\nprint('given.csv' in os.listdir('.'), 'x' in globals())\nopen('left.txt').read()"
IN_ORDER = ["import time; time.sleep(0.3); y = [1]", "y.append(2)", "y"]


def code(text):
    return {"name": "code_interpreter", "arguments": {"code": text}}


def search(text):
    return {"name": "file_search", "arguments": {"query": text}}


SCRIPT = [
    {"when": "remember", "round": 0, "call": [code("x = 41\nprint('kept')")]},
    {"when": "remember", "round": 1, "say": "I have it."},
    {"when": "recall", "round": 0, "call": [code("x + 1")]},
    {"when": "recall", "round": 1, "say": "It is 42."},
    {"when": "plot", "round": 0, "call": [code(PLOT)]},
    {"when": "plot", "round": 1, "say": "See [the notes](sandbox:/mnt/data/notes.txt) and sandbox:/mnt/data/no.txt."},
    {"when": "divide", "round": 0, "call": [code("print('before')\n1 / 0")]},
    {"when": "divide", "round": 1, "say": "That cannot be."},
    {"when": "crash", "round": 0, "call": [code("open('left.txt', 'w').write('here'); x = 1")]},
    {"when": "crash", "round": 1, "call": [code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")]},
    {"when": "crash", "round": 2, "call": [code(LOOK_AROUND)]},
    {"when": "crash", "round": 3, "say": "It goes on."},
    {"when": "in order", "round": 0, "call": [code(text) for text in IN_ORDER]},
    {"when": "in order", "round": 1, "say": "Done."},
    {"when": "both", "round": 0, "call": [code("6 * 7"), {"name": "get_weather", "arguments": {"city": "Oslo"}}]},
    {"when": "both", "round": 1, "say": "Cold, and 42."},
    {"when": "nonsense", "round": 0, "call": [{"name": "code_interpreter", "arguments": "no JSON"},
                                              {"name": "file_search", "arguments": {"text": "no query"}}]},
    {"when": "nonsense", "round": 1, "say": "I see."},
    {"when": "warranty", "round": 0, "call": [search("warranty of the kettle")]},
    {"when": "warranty", "round": 1, "say": "Two years【0:0†kettle.txt】, they say【9:9†kettle.txt】."},
    {"when": "twice", "round": 0, "call": [search("kettle"), search("delivery")]},
    {"when": "twice", "round": 1, "say": "A【1:0†kettle.txt】B【2:0†delivery.txt】C【0:0†kettle.txt】"},
]  # fmt: skip


@pytest.fixture(scope="module")
async def sdk(temporal, make_database, serve):
    """The SDK on a server of its own, whose worker runs code and searches files."""
    queue, limits = f"test-{uuid4()}", Limits()
    sandbox = sandbox_of("sandlock", limits=limits, warm=1)
    await sandbox.probe()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sandbox.aclose)
        url = stack.enter_context(make_database())
        server = await stack.enter_async_context(serve(temporal, url, task_queue=queue, runs_code=True))
        sessions = CodeSessions(server.database, sandbox, limits, f"{queue}-code-here")
        code_sessions = await stack.enter_async_context(sessions)
        for serves in (("runs",), ("files", "code")):  # as in two processes, one of them hardened
            config = Config(task_queue=queue, sandbox="sandlock", worker_serves=serves)
            parts = (temporal, config, server.database, ScriptedModel(SCRIPT), ToolRegistry())
            for worker in build_workers(*parts, code=code_sessions):
                await stack.enter_async_context(worker)
        opened = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0)
        yield await stack.enter_async_context(opened)


@pytest.fixture
def talk(sdk):
    """Say something on a thread, and return the run when it has stopped."""

    async def say(text, thread_id=None, *, tools=(CODE,), attachments=(), **options):
        assistant = await sdk.beta.assistants.create(model="script", tools=list(tools), **options)
        thread_id = thread_id or (await sdk.beta.threads.create()).id
        await sdk.beta.threads.messages.create(thread_id, role="user", content=text, attachments=list(attachments))
        return await sdk.beta.threads.runs.create_and_poll(
            thread_id=thread_id, assistant_id=assistant.id, poll_interval_ms=20
        )

    return say


async def calls_of(sdk, run):
    steps = await sdk.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc")
    return [call for step in steps.data if step.type == "tool_calls" for call in step.step_details.tool_calls]


async def answer_to(sdk, run):
    return (await sdk.beta.threads.messages.list(run.thread_id, run_id=run.id)).data[0]


def logs(call):
    return "".join(output.logs for output in call.code_interpreter.outputs if output.type == "logs")


async def test_a_session_lasts_from_run_to_run(sdk, talk):
    first = await talk("Please remember.")
    second = await talk("Please recall.", first.thread_id)

    assert (first.status, second.status) == ("completed", "completed")
    [kept], [recalled] = await calls_of(sdk, first), await calls_of(sdk, second)
    assert (kept.code_interpreter.input, logs(kept)) == ("x = 41\nprint('kept')", "kept\n")
    assert logs(recalled) == "42\n"


async def test_threads_have_sessions_of_their_own(sdk, talk):
    await talk("Please remember.")
    run = await talk("Please recall.")

    [call] = await calls_of(sdk, run)
    assert "NameError: name 'x' is not defined" in logs(call)


async def test_what_code_shows_and_saves_becomes_files(sdk, talk):
    run = await talk("Please plot.")
    message = await answer_to(sdk, run)
    [call] = await calls_of(sdk, run)
    [image] = [output for output in call.code_interpreter.outputs if output.type == "image"]
    picture, text = message.content

    assert picture.image_file.file_id == image.image.file_id
    [annotation] = text.text.annotations
    assert annotation.text == "sandbox:/mnt/data/notes.txt"
    assert text.text.value[annotation.start_index : annotation.end_index] == annotation.text
    assert message.attachments[0].to_dict() == {"file_id": annotation.file_path.file_id, "tools": [CODE]}
    notes = await sdk.files.retrieve(annotation.file_path.file_id)
    assert (notes.filename, notes.purpose, notes.bytes) == ("notes.txt", "assistants_output", 4)
    assert (await sdk.files.content(notes.id)).read() == b"kept"
    assert (await sdk.files.content(image.image.file_id)).read().startswith(b"\x89PNG")


async def test_an_error_of_the_code_is_told_to_the_model_and_ends_nothing(sdk, talk):
    run = await talk("Please divide.")

    [call] = await calls_of(sdk, run)
    assert run.status == "completed"
    assert logs(call).startswith("before\nTraceback (most recent call last)")
    assert logs(call).endswith("ZeroDivisionError: division by zero\n")


async def test_a_session_that_is_lost_is_made_again_with_its_files_and_that_is_said(sdk, talk):
    given = await sdk.files.create(file=("given.csv", b"a,b\n1,2\n"), purpose="assistants")
    run = await talk("Please crash.", attachments=[{"file_id": given.id, "tools": [CODE]}])

    assert run.status == "completed"
    made, crashed, after = map(logs, await calls_of(sdk, run))
    assert made == "1\n" or made == ""
    assert "The session was lost" in crashed
    assert after.startswith("Note: this is a new session.")
    assert after.endswith("True False\n'here'\n")


async def test_calls_of_one_round_run_one_after_the_other(sdk, talk):
    run = await talk("Three in order.")

    assert [logs(call) for call in await calls_of(sdk, run)] == ["", "", "[1, 2]\n"]


async def test_only_functions_are_asked_of_the_client(sdk, talk):
    run = await talk("Please do both.", tools=[CODE, WEATHER])
    assert run.status == "requires_action"
    [asked] = run.required_action.submit_tool_outputs.tool_calls
    outputs = [{"tool_call_id": asked.id, "output": "cold"}]
    done = await sdk.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs, poll_interval_ms=20
    )

    assert (asked.function.name, done.status) == ("get_weather", "completed")
    computed, answered = await calls_of(sdk, done)
    assert (logs(computed), answered.function.output) == ("42\n", "cold")


async def test_arguments_that_make_no_sense_are_told_to_the_model(sdk, talk):
    run = await talk("Some nonsense.", tools=[CODE, SEARCH])

    assert run.status == "completed"
    ran, searched = await calls_of(sdk, run)
    assert (ran.code_interpreter.input, ran.code_interpreter.outputs) == ("no JSON", [])
    assert searched.file_search.results == []


async def test_code_is_streamed_as_it_is_written_and_then_what_it_gave(sdk):
    assistant = await sdk.beta.assistants.create(model="script", tools=[CODE])
    thread = {"messages": [{"role": "user", "content": "Please plot."}]}
    events = []
    async with sdk.beta.threads.create_and_run_stream(assistant_id=assistant.id, thread=thread) as stream:
        async for event in stream:
            events.append(event)
        [step, _] = await stream.get_final_run_steps()
    deltas = [
        event.data.delta.step_details.tool_calls[0].code_interpreter
        for event in events
        if event.event == "thread.run.step.delta"
    ]

    assert deltas[0].to_dict() == {"input": "", "outputs": []}
    assert len(deltas) > 4
    assert (
        "".join(delta.input or "" for delta in deltas) == PLOT == step.step_details.tool_calls[0].code_interpreter.input
    )
    assert [output.type for output in deltas[-1].outputs] == ["logs", "image"]
    names = [event.event for event in events]
    assert "thread.run.requires_action" not in names
    assert names.index("thread.run.step.completed") < names.index("thread.message.created")
    [message] = [event.data for event in events if event.event == "thread.message.completed"]
    parts = [part for event in events if event.event == "thread.message.delta" for part in event.data.delta.content]
    assert (parts[0].index, parts[0].type) == (0, "image_file")
    assert {(part.index, part.type) for part in parts[1:]} == {(1, "text")}
    assert "".join(part.text.value for part in parts[1:]) == message.content[1].text.value


@pytest.fixture
async def shelf(sdk):
    """A vector store with two files, ready."""
    store = await sdk.vector_stores.create(name="knowledge_base")
    texts = {
        "kettle.txt": b"The warranty of the kettle is two years.",
        "delivery.txt": b"Delivery to Norway takes five days.",
    }
    await sdk.vector_stores.file_batches.upload_and_poll(store.id, files=list(texts.items()), poll_interval_ms=20)
    return store.id


async def test_an_answer_cites_what_was_found(sdk, talk, shelf):
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    run = await talk("How long is the warranty?", tools=[SEARCH], tool_resources=resources)
    message = await answer_to(sdk, run)
    [call] = await calls_of(sdk, run)

    assert run.status == "completed"
    [annotation] = message.content[0].text.annotations  # and none for the mark that nothing was found under
    [best, *_] = call.file_search.results
    assert (annotation.type, annotation.text) == ("file_citation", "【0:0†kettle.txt】")
    assert annotation.file_citation.file_id == best.file_id
    assert (best.file_name, best.content) == ("kettle.txt", None)
    assert 0 < best.score <= 1
    assert call.file_search.ranking_options.to_dict() == {"ranker": "default_2024_08_21", "score_threshold": 0.0}


async def test_the_text_of_passages_is_shown_where_it_is_asked_for(sdk, talk, shelf):
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    run = await talk("How long is the warranty?", tools=[SEARCH], tool_resources=resources)
    listed = await sdk.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc", include=[CONTENT])
    step = await sdk.beta.threads.runs.steps.retrieve(
        listed.data[0].id, thread_id=run.thread_id, run_id=run.id, include=[CONTENT]
    )

    for found in (listed.data[0], step):
        [best, *_] = found.step_details.tool_calls[0].file_search.results
        assert best.content[0].text == "The warranty of the kettle is two years."


async def test_marks_of_all_searches_of_a_thread_are_different(sdk, talk, shelf):
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    first = await talk("How long is the warranty?", tools=[SEARCH], tool_resources=resources)
    run = await talk("Look twice.", first.thread_id, tools=[SEARCH], tool_resources=resources)
    message = await answer_to(sdk, run)

    cited = [annotation.text for annotation in message.content[0].text.annotations]
    assert cited == ["【1:0†kettle.txt】", "【2:0†delivery.txt】"]  # the third is of another run


async def test_files_of_the_thread_are_waited_for_and_found_beside_those_of_the_assistant(sdk, talk, shelf):
    attached = await sdk.files.create(
        file=("fridge.txt", b"The warranty of the fridge is ten years."), purpose="assistants"
    )
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    run = await talk(
        "How long is the warranty?",
        tools=[SEARCH],
        tool_resources=resources,
        attachments=[{"file_id": attached.id, "tools": [SEARCH]}],
    )

    [call] = await calls_of(sdk, run)
    assert {"kettle.txt", "fridge.txt"} <= {found.file_name for found in call.file_search.results}


async def test_results_are_as_many_and_as_good_as_the_tool_says(sdk, talk, shelf):
    strict = {"max_num_results": 1, "ranking_options": {"score_threshold": 0.01, "ranker": "auto"}}
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    tool = {"type": "file_search", "file_search": strict}
    run = await talk("How long is the warranty?", tools=[tool], tool_resources=resources)

    [call] = await calls_of(sdk, run)
    assert [found.file_name for found in call.file_search.results] == ["kettle.txt"]
    assert call.file_search.ranking_options.to_dict() == {"ranker": "auto", "score_threshold": 0.01}


async def test_files_may_be_deleted_while_runs_search_them(sdk, talk):
    """Each run ends well, and cites nothing but what it found."""
    store = await sdk.vector_stores.create()
    texts = [(f"kettle-{number}.txt", b"The warranty of the kettle is two years.") for number in range(10)]
    await sdk.vector_stores.file_batches.upload_and_poll(store.id, files=texts, poll_interval_ms=20)
    file_ids = [file.id async for file in sdk.vector_stores.files.list(store.id)]
    resources = {"file_search": {"vector_store_ids": [store.id]}}

    async def delete_all():
        for file_id in file_ids:
            await sdk.files.delete(file_id)

    ask = {"tools": [SEARCH], "tool_resources": resources}
    *runs, _ = await asyncio.gather(*(talk("How long is the warranty?", **ask) for _ in range(6)), delete_all())
    after = await talk("How long is the warranty?", **ask)

    assert {run.status for run in (*runs, after)} == {"completed"}
    [call] = await calls_of(sdk, after)
    assert call.file_search.results == []
    assert (await answer_to(sdk, after)).content[0].text.annotations == []


async def test_a_store_that_was_deleted_is_not_searched_and_the_run_goes_on(sdk, talk, shelf):
    assistant = {"tools": [SEARCH], "tool_resources": {"file_search": {"vector_store_ids": [shelf]}}}
    first = await talk("How long is the warranty?", **assistant)
    await sdk.vector_stores.delete(shelf)
    run = await sdk.beta.threads.runs.create_and_poll(
        thread_id=first.thread_id, assistant_id=first.assistant_id, poll_interval_ms=20
    )

    [call] = await calls_of(sdk, run)
    assert (run.status, call.file_search.results) == ("completed", [])


@pytest.mark.parametrize(
    ("tools", "run", "param", "message"),
    [
        (
            [SEARCH, {"type": "function", "function": {"name": "file_search"}}],
            {},
            "assistant_id",
            "has the name of a built-in tool",
        ),
        ([WEATHER], {"tool_choice": CODE}, "tool_choice", "is not among the tools of the run"),
    ],
)
async def test_a_run_whose_tools_do_not_fit_together_is_refused(sdk, tools, run, param, message):
    assistant = await sdk.beta.assistants.create(model="script", tools=tools)
    thread = await sdk.beta.threads.create(messages=[{"role": "user", "content": "Hello."}])

    with pytest.raises(openai.BadRequestError, match=message) as refused:
        await sdk.beta.threads.runs.create(thread.id, assistant_id=assistant.id, **run)
    assert refused.value.param == param


@pytest.mark.parametrize("text", ["Please plot.", "How long is the warranty?", "Please divide.", "Some nonsense."])
async def test_events_steps_and_messages_fit_the_description(sdk, talk, shelf, problems_with, text):
    resources = {"file_search": {"vector_store_ids": [shelf]}}
    run = await talk(text, tools=[CODE, SEARCH], tool_resources=resources)
    steps = await sdk.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, include=[CONTENT])
    events = await sdk.get(f"/runs/{run.id}/events", cast_to=httpx2.Response)
    told = [
        {"event": block.split("\n")[0].removeprefix("event: "), "data": json.loads(block.rpartition("data: ")[2])}
        for block in events.text.strip().split("\n\n")
        if "[DONE]" not in block and not block.startswith(":")
    ]

    assert any(event["event"] == "thread.run.step.delta" for event in told)
    assert [found for event in told if (found := problems_with("AssistantStreamEvent", event))] == []
    for step in steps.data:
        assert problems_with("RunStepObject", step.to_dict()) == []
    assert problems_with("MessageObject", (await answer_to(sdk, run)).to_dict()) == []
