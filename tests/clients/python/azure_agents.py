"""Azure's `AgentsClient` (azure-ai-agents) and `AzureOpenAI` against a running server."""

import os

from azure.ai.agents import AgentsClient
from azure.ai.agents.models import FunctionTool, ListSortOrder, MessageDeltaChunk, ThreadRun, ToolSet
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy

SERVER = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
KEY = AzureKeyCredentialPolicy(AzureKeyCredential("any"), "api-key")


class Credential:
    """Gives tokens that nobody asks for: the policy of the key takes their place."""

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        """Return a token."""
        return AccessToken("any", 2**31)


def get_weather(city: str) -> str:
    """Return the weather of a city.

    :param city: The city.
    """
    return f"7 C in {city}"


def main() -> None:
    """Ask with a function, at once and as a stream, and use files."""
    endpoint = f"{SERVER}/api/projects/demo"
    with AgentsClient(endpoint=endpoint, credential=Credential(), authentication_policy=KEY) as client:
        toolset = ToolSet()
        toolset.add(FunctionTool({get_weather}))
        client.enable_auto_function_calls(toolset)
        agent = client.create_agent(model="offline", name="helper", instructions="Help.", toolset=toolset)
        thread = client.threads.create()
        client.messages.create(thread_id=thread.id, role="user", content="What is the weather in Oslo?")
        run = client.runs.create_and_process(thread_id=thread.id, agent_id=agent.id, polling_interval=1)
        assert run.status == "completed", run
        said = client.messages.get_last_message_text_by_role(thread_id=thread.id, role="assistant")
        assert "7 C in Oslo" in said.text.value, said
        stream_an_answer(client, agent.id)
        steps = list(client.run_steps.list(thread_id=thread.id, run_id=run.id, order=ListSortOrder.ASCENDING))
        assert [step.type for step in steps] == ["tool_calls", "message_creation"], steps
        assert thread.id in [found.id for found in client.threads.list(limit=100)]
        use_files(client)
        client.threads.delete(thread.id)
        client.delete_agent(agent.id)


def stream_an_answer(client: AgentsClient, agent_id: str) -> None:
    """Hear an answer as it is written."""
    thread = client.threads.create()
    client.messages.create(thread_id=thread.id, role="user", content="What is the weather in Rome?")
    text, statuses = "", []
    with client.runs.stream(thread_id=thread.id, agent_id=agent_id) as stream:
        for _, data, _ in stream:
            if isinstance(data, MessageDeltaChunk):
                text += data.text
            elif isinstance(data, ThreadRun):
                statuses.append(data.status)
    assert "7 C in Rome" in text, (text, statuses)
    assert statuses[-1] == "completed", statuses


def use_files(client: AgentsClient) -> None:
    """Upload a file, read it, and delete it."""
    file = client.files.upload(file=("a.txt", b"hello"), purpose="assistants")
    assert b"".join(client.files.get_content(file.id)) == b"hello"
    assert file.id in [found.id for found in client.files.list().data]
    client.files.delete(file.id)


if __name__ == "__main__":
    main()
    print("azure-ai-agents: everything went as it should")
