"""Tries other people's clients on a running server, each in an environment of its own: ``make clients`` runs it.

What is missing is installed first, by pip into ``.clients`` and by npm into ``tests/clients/node``.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lockstitch.dev import DevOptions, DevStack

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".clients"
PATIENCE = 180
"""Seconds that a client may take."""


@dataclass(frozen=True, slots=True)
class PythonClient:
    """A package from PyPI and the script that uses it."""

    name: str
    script: str
    requirements: tuple[str, ...]

    async def command(self) -> list[str]:
        """Return the command that tries the client, and install the client first where it is missing."""
        folder = ENVIRONMENTS / self.name
        python = str(folder / "bin" / "python")
        if not (folder / "ready").exists():
            venv.create(folder, with_pip=True, clear=True)
            quiet = ("--quiet", "--disable-pip-version-check")
            await finished([python, "-m", "pip", "install", *quiet, *self.requirements])
            (folder / "ready").touch()
        return [python, "-W", "ignore", str(HERE / "python" / self.script)]


@dataclass(frozen=True, slots=True)
class NodeClient:
    """A package from npm and the script that uses it."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()

    async def command(self) -> list[str]:
        """Return the command that tries the client, and install the clients first where they are missing."""
        if not (HERE / "node" / "node_modules").exists():
            await finished(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(HERE / "node")])
        return ["node", str(HERE / "node" / self.script), *self.arguments]


CLIENTS: list[PythonClient | NodeClient] = [
    NodeClient("openai-node-4", "openai.mjs", ("openai-4",)),
    NodeClient("openai-node-7", "openai.mjs", ("openai-7",)),
    NodeClient("vercel-ai", "vercel-ai.mjs"),
    NodeClient("azure-openai-assistants", "azure-openai-assistants.mjs"),
    PythonClient("openai-1.30", "openai_sdk.py", ("openai==1.30.5", "httpx<0.28")),
    PythonClient("openai-1.109", "openai_sdk.py", ("openai==1.109.1",)),
    PythonClient("openai-3", "openai_sdk.py", ("openai>=3.50,<4",)),
    PythonClient("azure-ai-agents", "azure_agents.py", ("azure-ai-agents==1.1.0",)),
    PythonClient("langchain", "langchain_runnable.py", ("langchain<1", "langchain-community<0.4", "openai")),
    PythonClient("llama-index", "llama_index_agent.py", ("llama-index-agent-openai==0.4.12",)),
    PythonClient("autogen-ext", "autogen_agent.py", ("autogen-ext[openai]==0.7.5", "autogen-agentchat==0.7.5")),
    PythonClient("pyautogen", "pyautogen_agent.py", ("autogen-agentchat==0.2.40",)),
    PythonClient("semantic-kernel", "semantic_kernel_agent.py", ("semantic-kernel==1.45.0",)),
    PythonClient("agency-swarm", "agency.py", ("agency-swarm<1",)),
    PythonClient("litellm", "litellm_assistants.py", ("litellm",)),
]


async def finished(
    command: list[str], environment: dict[str, str] | None = None, folder: str | None = None
) -> tuple[int, str]:
    """Run a command to its end and return its code and what it said; one with an environment must not hang."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE if environment else None)
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1, f"It did not end within {PATIENCE} seconds."
    return process.returncode or 0, said.decode(errors="replace")


async def main(names: list[str]) -> int:
    """Try the clients with these names, or all, and return how many did not get through."""
    chosen = [client for client in CLIENTS if not names or client.name in names]
    console, failures = Console(), 0
    with tempfile.TemporaryDirectory(prefix="lockstitch-clients-") as folder:
        settings = {"LOCKSTITCH_MODEL": "offline"}
        ports = {"port": 0, "temporal_port": 0, "ui_port": 0, "metrics_port": 0}
        async with DevStack(DevOptions(Path(folder), **ports, environment=settings, quiet=True)) as stack:
            table = Table("Client", "Result")
            for client in chosen:
                environment = {**os.environ, "OPENAI_BASE_URL": f"{stack.server_url}/v1", "OPENAI_API_KEY": "any"}
                code, said = await finished(await client.command(), environment, folder)
                failures += code != 0
                table.add_row(client.name, "ok" if code == 0 else said[-2000:])
            console.print(table)
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the clients to try; all where there is none")
    sys.exit(min(asyncio.run(main(parser.parse_args().names)), 1))
