"""The official SDK for Python, old versions too, against a running server."""

import os

import openai
from openai import AssistantEventHandler, AzureOpenAI, OpenAI
from typing_extensions import override

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Oslo?"}


class Listener(AssistantEventHandler):
    """Hears the text and the arguments of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.arguments = ""

    @override
    def on_text_delta(self, delta: object, snapshot: object) -> None:
        self.text = snapshot.value

    @override
    def on_tool_call_delta(self, delta: object, snapshot: object) -> None:
        self.arguments += delta.function.arguments or ""


def outputs_of(run: object) -> list[dict[str, str]]:
    """Return an output for each call that the run asks for."""
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": "7 C"} for call in calls]


def refusal_of_cancelling(threads: object, run: object) -> str:
    """Return why the run cannot be cancelled."""
    try:
        threads.runs.cancel(run.id, thread_id=run.thread_id)
    except openai.BadRequestError as error:
        return str(error)
    raise AssertionError("an ended run was cancelled")


def azure(deployment: str | None) -> None:
    """Use the client for Azure, which may put the deployment into the path."""
    server = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    options = {"azure_endpoint": server, "api_key": "any", "azure_deployment": deployment, "max_retries": 0}
    os.environ.pop("OPENAI_BASE_URL")
    client = AzureOpenAI(api_version="2024-05-01-preview", **options)
    os.environ["OPENAI_BASE_URL"] = f"{server}/v1"
    assistant = client.beta.assistants.create(model="offline")
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "completed", run
    assert client.beta.assistants.delete(assistant.id).deleted


def poll(client: OpenAI, assistant_id: str) -> None:
    """Let the SDK poll a run through a round of calls."""
    threads = client.beta.threads
    run = threads.create_and_run_poll(assistant_id=assistant_id, thread={"messages": [QUESTION]})
    assert run.status == "requires_action", run
    done = threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run)
    )
    assert done.status == "completed", done
    [message] = threads.messages.list(run.thread_id, run_id=run.id).data
    assert "7 C" in message.content[0].text.value, message
    steps = threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [step.type for step in steps] == ["tool_calls", "message_creation"], steps
    assert "Cannot cancel run with status 'completed'." in refusal_of_cancelling(threads, done)


def stream(client: OpenAI, assistant_id: str) -> None:
    """Let the SDK accumulate the streams of a run."""
    threads, listener = client.beta.threads, Listener()
    thread = threads.create(messages=[QUESTION])
    with threads.runs.stream(thread_id=thread.id, assistant_id=assistant_id, event_handler=listener) as opened:
        opened.until_done()
        run = opened.current_run
    assert listener.arguments == '{"city": "Oslo"}', listener.arguments
    listener = Listener()
    with threads.runs.submit_tool_outputs_stream(
        thread_id=thread.id, run_id=run.id, tool_outputs=outputs_of(run), event_handler=listener
    ) as opened:
        [message] = opened.get_final_messages()
    assert listener.text == message.content[0].text.value, message


def main() -> None:
    """Use assistants, threads, runs and files as programs do."""
    client = OpenAI(max_retries=0)
    assistant = client.beta.assistants.create(model="offline", name="Helper", tools=[WEATHER])
    poll(client, assistant.id)
    stream(client, assistant.id)
    file = client.files.create(file=("a.txt", b"hello"), purpose="assistants")
    assert client.files.content(file.id).read() == b"hello"
    assert client.files.delete(file.id).deleted
    assert client.beta.assistants.delete(assistant.id).deleted
    azure(None)
    azure("gpt-4o")


if __name__ == "__main__":
    main()
    print(f"openai {openai.__version__}: everything went as it should")
