"""LangChain's `OpenAIAssistantV2Runnable` and an agent executor, against a running server."""

import json

from langchain_community.agents.openai_assistant import OpenAIAssistantV2Runnable
from langchain_core.tools import tool


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"7 C in {city}"


def answer_until_it_is_done(runnable: OpenAIAssistantV2Runnable) -> str:
    """Call the tools that the assistant asks for until it answers."""
    said = runnable.invoke({"content": "What is the weather in Oslo?"})
    while isinstance(said, list) and hasattr(said[0], "tool"):
        outputs = [
            {"output": get_weather.invoke(action.tool_input), "tool_call_id": action.tool_call_id} for action in said
        ]
        said = runnable.invoke({"tool_outputs": outputs, "run_id": said[0].run_id, "thread_id": said[0].thread_id})
    return str(said.return_values["output"] if hasattr(said, "return_values") else said[0].content[0].text.value)


def main() -> None:
    """Ask with and without tools."""
    plain = OpenAIAssistantV2Runnable.create_assistant(name="Helper", instructions="Help.", tools=[], model="offline")
    [message] = plain.invoke({"content": "Hello"})
    assert message.content[0].text.value.startswith("Offline model"), message

    agent = OpenAIAssistantV2Runnable.create_assistant(
        name="Agent", instructions="Help.", tools=[get_weather], model="offline", as_agent=True
    )
    said = answer_until_it_is_done(agent)
    assert "7 C in Oslo" in said, said
    again = agent.invoke({"content": "Hello again", "thread_id": message.thread_id})
    assert json.dumps(again.return_values["output"]), again


if __name__ == "__main__":
    main()
    print("langchain: everything went as it should")
