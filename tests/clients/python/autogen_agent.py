"""AutoGen's `OpenAIAssistantAgent` (autogen-ext) against a running server."""

import asyncio

from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_core.tools import FunctionTool
from autogen_ext.agents.openai import OpenAIAssistantAgent
from openai import AsyncOpenAI


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"7 C in {city}"


async def main() -> None:
    """Ask with a function, and once more on the same thread."""
    async with AsyncOpenAI(max_retries=0) as client:
        agent = OpenAIAssistantAgent(
            name="helper",
            description="Helps.",
            client=client,
            model="offline",
            instructions="Help.",
            tools=[FunctionTool(get_weather, description="Return the weather of a city.")],
        )
        token = CancellationToken()
        for asked, expected in (("What is the weather in Oslo?", "7 C in Oslo"), ("Hello", "Offline model")):
            said = await agent.on_messages([TextMessage(content=asked, source="user")], token)
            assert expected in said.chat_message.content, said
        await agent.on_reset(token)
        await agent.delete_assistant(token)


if __name__ == "__main__":
    asyncio.run(main())
    print("autogen-ext: everything went as it should")
