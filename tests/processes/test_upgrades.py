"""An upgrade from the command line: old and new workers side by side, and what tells beforehand what would break."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import openai
import pytest

from lockstitch.dev import DevStack
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest, ToolOutput
from lockstitch.tests.another_release import ANOTHER_FIRST_STEP, copied
from lockstitch.tests.command_line import LOCKSTITCH, lockstitch, lockstitch_anew
from lockstitch.tests.processes.conftest import started_stack, until_ready
from lockstitch.tests.processes.test_several_processes import free_port

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
async def versioned(tmp_path_factory) -> AsyncIterator[DevStack]:
    """A stack whose worker is of the version 1."""
    folder = tmp_path_factory.mktemp("versioned")
    async with started_stack(folder, LOCKSTITCH_DEPLOYMENT_NAME="runs", LOCKSTITCH_BUILD_ID="1") as started:
        yield started


@pytest.fixture(scope="module")
def next_release(tmp_path_factory) -> Path:
    """The PYTHONPATH of a release whose runs begin with another step."""
    return copied(tmp_path_factory.mktemp("next"), ANOTHER_FIRST_STEP)


@pytest.fixture
async def starter(versioned) -> AsyncIterator[Starter]:
    async with await Starter.connect(versioned.temporal_address, server_url=versioned.server_url) as connected:
        yield connected


@pytest.fixture
def settings(versioned) -> dict[str, str]:
    return {
        "LOCKSTITCH_TEMPORAL_ADDRESS": versioned.temporal_address,
        "LOCKSTITCH_SERVER_URL": versioned.server_url,
        "LOCKSTITCH_DATABASE_URL": f"sqlite:///{versioned.data_dir / 'lockstitch.db'}",
        "LOCKSTITCH_DEPLOYMENT_NAME": "runs",
    }


@pytest.fixture
def waiting(versioned, starter, eventually):
    """Start a run and wait until it waits for outputs of the client."""

    async def begin() -> str:
        tool = {"type": "function", "function": {"name": "get_weather"}}
        async with openai.AsyncOpenAI(base_url=f"{versioned.server_url}/v1", api_key="any") as client:
            assistant = await client.beta.assistants.create(model="script", tools=[tool])
        message = NewMessage(role="user", content="The weather?")
        run_id = await starter.start(ThreadRunRequest(assistant_id=assistant.id, messages=[message]))

        async def pending():
            return (await starter.snapshot(run_id)).pending_calls

        await eventually(pending)
        return run_id

    return begin


async def finish(starter: Starter, run_id: str) -> str:
    pending = (await starter.snapshot(run_id)).pending_calls
    await starter.answer(run_id, [ToolOutput(tool_call_id=call.call_id, output="fair") for call in pending])
    return (await starter.result(run_id)).status


@asynccontextmanager
async def worker_of(versioned: DevStack, **settings: str) -> AsyncIterator[None]:
    """Run another worker beside that of the stack."""
    port = free_port()
    environment = {
        **os.environ,
        "LOCKSTITCH_METRICS_PORT": str(port),
        "LOCKSTITCH_MODEL_SCRIPT": str(versioned.data_dir / "script.json"),
        **settings,
    }
    command = [*LOCKSTITCH, "worker"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until_ready(f"http://127.0.0.1:{port}")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def told(*words: str, **settings: str) -> tuple[int, list[dict[str, object]]]:
    code, out, _err = await lockstitch_anew(*words, "--json", **settings)
    return code, [json.loads(line) for line in out.splitlines()]


async def test_an_upgrade_side_by_side_loses_no_run(versioned, starter, settings, waiting, next_release, eventually):
    """The next release could not go on with the first run, and does not have to."""
    first = await waiting()
    new = {"PYTHONPATH": str(next_release), "LOCKSTITCH_BUILD_ID": "2"}
    async with worker_of(versioned, **settings, **new):
        code, out, _ = await lockstitch("deployments", "set-current", "2", **settings)
        assert (code, out) == (0, "New runs go to 2.\n")
        second = await waiting()

        async def draining():
            code, [version] = await told("deployments", "drained", "1", **settings)
            return version if code == 1 and version["open_runs"] == 1 else None

        assert (await eventually(draining))["role"] == "retired"
        assert [await finish(starter, run_id) for run_id in (first, second)] == ["completed", "completed"]
        code, [version] = await told("deployments", "drained", "--wait", **settings)
        assert (code, version["build_id"], version["drained"]) == (0, "1", True)
        await lockstitch("deployments", "set-current", "1", **settings)  # back again, for the next test


async def test_a_run_is_moved_to_another_version(versioned, starter, settings, waiting, eventually):
    run_id = await waiting()
    async with worker_of(versioned, **settings, LOCKSTITCH_BUILD_ID="1a"):
        code, out, err = await lockstitch("runs", "move", run_id, "--to", "1a", **settings)
        assert (code, out, err) == (0, f"{run_id} goes on on 1a.\n", "")
        assert await finish(starter, run_id) == "completed"

    code, _out, err = await lockstitch("runs", "move", run_id, "--to", "1", **settings)
    assert (code, err) == (1, f"lockstitch: Run {run_id} has ended with status 'completed' and takes no more.\n")


async def test_histories_of_the_server_are_replayed_before_an_upgrade(
    starter, settings, waiting, next_release, tmp_path, eventually
):
    run_id = await waiting()
    await finish(starter, await waiting())
    asked = f"WorkflowId = '{run_id}'"

    async def replayed():
        code, found = await told("replay", "--query", asked, "--save", str(tmp_path / "kept"), **settings)
        assert code == 0
        return found

    [one] = await eventually(replayed)
    assert (one["workflow_id"], one["kind"], one["problem"]) == (run_id, "open", None)
    # The runs of the next release, which another test left behind, would break here.
    code, found = await told("replay", "--query", "TemporalWorkerDeploymentVersion != 'runs:2'", **settings)
    assert code == 0
    assert {"open", "completed"} <= {it["kind"] for it in found if it["workflow_type"] == "ThreadRun"}

    new = {"PYTHONPATH": str(next_release)}
    for source in (["--query", asked], ["--from", str(tmp_path / "kept")]):
        code, out, err = await lockstitch_anew("replay", *source, **settings, **new)
        assert code == 1
        assert f"{run_id} (ThreadRun, " in out
        assert "breaks at event" in out
        assert "Nondeterminism error: Timer machine does not handle this event" in out
        assert "WARN" not in out + err
    code, found = await told("replay", "--without-pinned", **settings, **new)
    assert (code, {it["workflow_type"] for it in found} & {"ThreadRun"}) == (0, set())


async def test_what_cannot_be_replayed_is_said_in_one_sentence(settings, tmp_path):
    (tmp_path / "a.json").write_text('{"events": []}')

    code, _, err = await lockstitch("replay", "--from", str(tmp_path), **settings)
    assert (code, err.count("\n")) == (1, 1)
    assert "its first event is not the start of a workflow" in err
    code, _, err = await lockstitch("replay", "--query", "Nonsense ==", **settings)
    assert code == 2
    assert "Temporal does not understand it" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deployments", "show"], "LOCKSTITCH_DEPLOYMENT_NAME: it is not set; set it to the name"),
        (["deployments", "show", "--deployment", "others"], "There is no deployment 'others'"),
        (["deployments", "drained", "9", "--deployment", "runs"], "'9' is none of the deployment 'runs'"),
        (["runs", "move", "run_1", "--to", "2"], "LOCKSTITCH_DEPLOYMENT_NAME: it is not set"),
    ],
)  # fmt: skip
async def test_a_command_that_cannot_be_carried_out_says_why(settings, words, said):
    code, _, err = await lockstitch(*words, **{**settings, "LOCKSTITCH_DEPLOYMENT_NAME": ""})

    assert code == 1
    assert said in err
