"""Semantic Kernel's `OpenAIAssistantAgent` against a running server."""

import asyncio

from openai import AsyncOpenAI
from semantic_kernel.agents import AssistantAgentThread, OpenAIAssistantAgent
from semantic_kernel.functions import kernel_function


class Weather:
    """A plugin with one function."""

    @kernel_function
    def get_weather(self, city: str) -> str:
        """Return the weather of a city."""
        return f"7 C in {city}"


async def main() -> None:
    """Ask with a function, at once and as a stream."""
    async with AsyncOpenAI(max_retries=0) as client:
        definition = await client.beta.assistants.create(model="offline", name="Helper", instructions="Help.")
        agent = OpenAIAssistantAgent(client=client, definition=definition, plugins=[Weather()])
        thread = AssistantAgentThread(client=client)
        answer = await agent.get_response(messages="What is the weather in Oslo?", thread=thread)
        assert "7 C in Oslo" in str(answer.message), answer

        said = ""
        async for part in agent.invoke_stream(messages="What is the weather in Rome?", thread=thread):
            said += str(part.message)
        assert "7 C in Rome" in said, said
        await thread.delete()
        await client.beta.assistants.delete(agent.id)


if __name__ == "__main__":
    asyncio.run(main())
    print("semantic-kernel: everything went as it should")
