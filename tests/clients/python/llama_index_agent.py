"""LlamaIndex's `OpenAIAssistantAgent` against a running server."""

from llama_index.agent.openai import OpenAIAssistantAgent
from llama_index.core.tools import FunctionTool


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"7 C in {city}"


def main() -> None:
    """Ask with a function, and once more on the same thread."""
    agent = OpenAIAssistantAgent.from_new(
        name="Helper",
        instructions="Help.",
        tools=[FunctionTool.from_defaults(get_weather)],
        model="offline",
        run_retrieve_sleep_time=0.1,
    )
    answer = str(agent.chat("What is the weather in Oslo?"))
    assert "7 C in Oslo" in answer, answer
    again = str(agent.chat("Hello"))
    assert again.startswith("Offline model"), again
    assert len(agent.chat_history) == 4, agent.chat_history


if __name__ == "__main__":
    main()
    print("llama-index: everything went as it should")
