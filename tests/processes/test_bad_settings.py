"""Processes with wrong settings: each says what is wrong and what to do, and ends before it takes work."""

import json
from uuid import uuid4

import pytest
import sqlalchemy
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from lockstitch.assistants.store.database import Database
from lockstitch.tests.command_line import lockstitch

PROCESSES = ("worker", "serve")
SET_OLDEST = sqlalchemy.text("UPDATE compatibility SET oldest_version = :version")
SET_VERSION = sqlalchemy.text("UPDATE alembic_version SET version_num = :version")


async def refused(process: str, **environment: str) -> str:
    """Start a process that must not come up, and return its last words."""
    code, _, err = await lockstitch(process, LOCKSTITCH_PORT="0", LOCKSTITCH_METRICS_PORT="0", **environment)
    assert code == 1
    assert "Traceback" not in err
    assert "worker_started" not in err
    assert "http_server_started" not in err
    return err.strip().splitlines()[-1]


@pytest.fixture
def sound(temporal, tmp_path):
    """Settings with which a process starts."""
    return {
        "LOCKSTITCH_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'lockstitch.db'}",
    }


async def namespace_with(client: Client, **attributes: IndexedValueType.ValueType) -> str:
    name = f"test-{uuid4()}"
    day = Duration(seconds=86_400)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=day)
    )
    if attributes:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=name, search_attributes=attributes)
        )
    return name


async def test_a_variable_that_is_no_setting(sound):
    said = await refused("serve", **sound, LOCKSTITCH_TASK_QUEU="runs")

    assert said == "lockstitch: LOCKSTITCH_TASK_QUEU: there is no such setting; did you mean LOCKSTITCH_TASK_QUEUE?"


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_temporal_server_that_is_not_there(process, sound):
    said = await refused(process, **sound | {"LOCKSTITCH_TEMPORAL_ADDRESS": "127.0.0.1:1"})

    assert said.startswith("lockstitch: No Temporal server answers at 127.0.0.1:1 (")
    assert said.endswith("or set LOCKSTITCH_TEMPORAL_ADDRESS.")


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_namespace_that_is_not_there(process, sound):
    said = await refused(process, **sound, LOCKSTITCH_TEMPORAL_NAMESPACE="nowhere")

    assert said == "lockstitch: LOCKSTITCH_TEMPORAL_NAMESPACE: the Temporal server has no namespace 'nowhere'."


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_search_attribute_that_cannot_be_had(process, sound, temporal):
    taken = await namespace_with(temporal, LockstitchStatus=IndexedValueType.INDEXED_VALUE_TYPE_INT)
    said = await refused(process, **sound, LOCKSTITCH_TEMPORAL_NAMESPACE=taken)

    assert said.startswith(f"lockstitch: The Temporal namespace {taken!r} lacks search attributes of runs")
    assert f"search-attribute create --namespace {taken} --name LockstitchStatus --type Keyword" in said


@pytest.mark.parametrize(
    ("process", "version", "auto_upgrade", "hint"),
    [
        ("worker", None, "false", "it has no tables, and this release needs version"),
        ("worker", "0007", "false", "its tables are of version 0007, and this release needs version"),
        ("serve", "0007", "false", "its tables are of version 0007, and this release needs version"),
        ("serve", "9999", "true", "a newer release has upgraded it to version 9999"),
    ],
)
async def test_a_database_that_is_behind_the_code_or_before_it(process, version, auto_upgrade, hint, sound):
    if version is not None:
        async with Database(sound["LOCKSTITCH_DATABASE_URL"]) as database:
            await database.write(lambda connection: connection.execute(SET_VERSION, {"version": version}))
            await database.write(lambda connection: connection.execute(SET_OLDEST, {"version": version}))
    said = await refused(process, **sound, LOCKSTITCH_DATABASE_AUTO_UPGRADE=auto_upgrade)

    assert hint in said
    assert auto_upgrade == "true" or said.endswith("run `lockstitch db upgrade`.")


# --- lockstitch config


async def test_sound_settings_are_found_sound_and_looking_changes_nothing(sound, temporal, tmp_path):
    fresh = await namespace_with(temporal)
    code, out, _ = await lockstitch("config", "check", "--json", **sound, LOCKSTITCH_TEMPORAL_NAMESPACE=fresh)

    found = {line["variable"]: line for line in map(json.loads, out.splitlines())}
    assert code == 0
    assert {line["level"] for line in found.values()} == {"note"}
    assert "LockstitchStatus" in found["LOCKSTITCH_TEMPORAL_NAMESPACE"]["sentence"]
    again = await lockstitch("config", "check", "--json", **sound, LOCKSTITCH_TEMPORAL_NAMESPACE=fresh)
    assert again[1] == out


async def test_everything_that_keeps_a_process_from_starting_is_told_at_once(sound):
    wrong = {"LOCKSTITCH_TEMPORAL_ADDRESS": "127.0.0.1:1", "LOCKSTITCH_DATABASE_URL": "mysql://x"}
    code, out, _ = await lockstitch("config", "check", "--json", **wrong, LOCKSTITCH_TOOLS="no.such")

    told = [line["variable"] for line in map(json.loads, out.splitlines()) if line["level"] == "wrong"]
    assert code == 1
    assert told == ["LOCKSTITCH_TOOLS", "LOCKSTITCH_DATABASE_URL", "LOCKSTITCH_TEMPORAL_ADDRESS"]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
async def test_what_is_unsafe_fails_the_check_where_it_is_strict(options, code):
    unsafe = {"LOCKSTITCH_WEBHOOK_URL": "http://pager.example/hook"}
    ended_with, out, _ = await lockstitch("config", "check", "--offline", *options, **unsafe)

    assert ended_with == code
    assert "escalations cross the network in the clear; use https." in out


@pytest.mark.parametrize(
    ("url", "url_shown"),
    [
        ("postgresql://me:hidden@db/x", "postgresql://me:***@db/x"),
        ("postgresql://db/x?user=me&password=hidden", "postgresql://db/x?user=me&password=***"),
    ],
)
async def test_settings_are_shown_without_their_secrets(url, url_shown):
    given = {"OPENAI_API_KEY": "sk-secret", "LOCKSTITCH_DATABASE_URL": url}
    _, out, _ = await lockstitch("config", "show", "--json", **given)

    shown = {line["variable"]: line for line in map(json.loads, out.splitlines())}
    assert shown["OPENAI_API_KEY"] == {"variable": "OPENAI_API_KEY", "value": "(set)", "from": "environment"}
    assert shown["LOCKSTITCH_DATABASE_URL"]["value"] == url_shown
    assert shown["LOCKSTITCH_TASK_QUEUE"] == {
        "variable": "LOCKSTITCH_TASK_QUEUE",
        "value": "lockstitch",
        "from": "default",
    }
