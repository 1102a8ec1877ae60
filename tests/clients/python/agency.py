"""agency-swarm (before version 1) against a running server."""

from agency_swarm import Agency, Agent
from agency_swarm.tools import BaseTool
from agency_swarm.util import set_openai_client
from openai import OpenAI
from pydantic import Field


class GetWeather(BaseTool):
    """Return the weather of a city."""

    city: str = Field(..., description="The city.")

    def run(self) -> str:
        """Answer."""
        return f"7 C in {self.city}"


def main() -> None:
    """Ask an agency of one agent that has a tool."""
    set_openai_client(OpenAI(max_retries=0))
    agent = Agent(name="Helper", description="Helps.", instructions="Help.", tools=[GetWeather], model="gpt-4o")
    agency = Agency([agent], temperature=0.3)
    answer = agency.get_completion("What is the weather in Oslo?")
    assert "7 C in Oslo" in answer, answer
    agent.delete()


if __name__ == "__main__":
    main()
    print("agency-swarm: everything went as it should")
