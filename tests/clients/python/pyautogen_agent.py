"""AutoGen 0.2's `GPTAssistantAgent` against a running server."""

import os

from autogen import UserProxyAgent
from autogen.agentchat.contrib.gpt_assistant_agent import GPTAssistantAgent


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"7 C in {city}"


SCHEMA = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main() -> None:
    """Let a user's proxy ask an assistant that has a function."""
    config = {"model": "offline", "api_key": "any", "base_url": os.environ["OPENAI_BASE_URL"]}
    agent = GPTAssistantAgent(
        name="helper",
        instructions="Help.",
        llm_config={"config_list": [config]},
        assistant_config={"tools": [SCHEMA]},
    )
    agent.register_function({"get_weather": get_weather})
    user = UserProxyAgent("user", human_input_mode="NEVER", code_execution_config=False, max_consecutive_auto_reply=0)
    said = user.initiate_chat(agent, message="What is the weather in Oslo?")
    assert "7 C in Oslo" in said.chat_history[-1]["content"], said
    agent.delete_assistant()


if __name__ == "__main__":
    main()
    print("pyautogen: everything went as it should")
