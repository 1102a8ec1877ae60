"""Values that are refused, and what values.yaml, its schema, the docs and the settings have to agree on."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import helm_python
import pytest

from lockstitch.config import Config
from lockstitch.tests.deploy.rendering import (
    CHART,
    ROOT,
    SETTINGS,
    Object,
    Values,
    chart,
    postgresql,
    render,
)

# Values that are refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicaCount": 2}, "at '': additional properties 'replicaCount' not allowed"),
        ({"server": {"replica": 2}}, "at '/server': additional properties 'replica' not allowed"),
        ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
        ({"server": {"replicas": "2"}}, "at '/server/replicas': got string, want integer"),
        ({"worker": {"replicas": -1}}, "at '/worker/replicas': minimum: got -1, want 0"),
        ({"tools": "shop.orders"}, "at '/tools': got string, want array"),
        ({"tools": ["shop.orders,shop.refunds"]}, "at '/tools/0': "),
        ({"database": {"type": "mysql"}}, "at '/database/type': value must be one of 'sqlite', 'postgresql'"),
        ({"model": {"apiKey": "k"}}, "at '/model': additional properties 'apiKey' not allowed"),
        ({"podLabels": {"build": 7}}, "at '/podLabels/build': got number, want string"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "at '/podDisruptionBudget/maxUnavailable': minimum"),
    ],
)
def test_the_schema_names_the_value_that_it_refuses(values: Values, message: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=re.escape(message)):
        render(values)


def database(kind: str, **more: Any) -> Values:
    return {"database": {"type": kind, **more}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"server": {"replicas": 2}}, "server.replicas is 2 and database.type is sqlite"),
        ({"worker": {"replicas": 0}}, "worker.replicas is 0 and database.type is sqlite"),
        ({"worker": {"nodeSelector": {"disk": "ssd"}}}, "set nodeSelector at the top level"),
        (database("sqlite", existingSecret={"name": "s"}), "a SQLite URL is no secret"),
        (database("sqlite", url="postgresql://db/x"), "does not begin with sqlite:////data/"),
        (database("sqlite", url="sqlite:////tmp/x.db"), "does not begin with sqlite:////data/"),
        (database("sqlite", persistence={"enabled": False, "existingClaim": "c"}), "leave the claim empty"),
        (database("postgresql"), "its URL is missing"),
        (database("postgresql", url="postgresql://db/x", existingSecret={"name": "s"}), "are both set"),
        (database("postgresql", url="sqlite:////data/x.db"), "does not begin with postgresql://"),
        (database("postgresql", url="postgresql://me:pw@db/x"), "database.url holds a password"),
        (
            database("postgresql", url="postgresql://db/x?user=me&password=pw"),
            "database.url holds a password",
        ),
        (postgresql() | {"model": {"provider": "openai"}}, "neither a key nor an endpoint"),
        ({"assistants": {"existingSecret": {"name": "s"}}}, "say which server they are for"),
        ({"assistants": {"apiVersion": "v1"}}, "say which server they are for"),
        ({"ingress": {"enabled": True}}, "name at least one host"),
        ({"decisionLinks": {"existingSecret": {"name": "s"}}}, "say where people reach the server"),
        (
            {"worker": {"extraEnv": [{"name": "LOCKSTITCH_WEBHOOK_URL", "value": "u"}]}},
            "worker.extraEnv sets LOCKSTITCH_WEBHOOK_URL",
        ),
        (
            {"worker": {"extraEnv": [{"name": "OPENAI_API_KEY", "value": "k"}]}},
            "worker.extraEnv sets OPENAI_API_KEY",
        ),
        (
            {"server": {"extraEnv": [{"name": "LOCKSTITCH_PORT", "value": "1"}]}},
            "server.extraEnv sets LOCKSTITCH_PORT",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_a_sentence(values: Values, sentence: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=re.escape(sentence)):
        render(values)


# values.yaml, its schema and the docs tell the same


def objects_of(schema: Any) -> Iterator[Object]:
    """Every part of the schema that lists properties."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield schema
        for each in schema.values():
            yield from objects_of(each)


def paths_of(values: Values, schema: Object, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Each path of the schema, with whether values.yaml has it."""
    for name, each in schema["properties"].items():
        yield f"{prefix}{name}", name in values
        if "properties" in each:
            yield from paths_of(values.get(name, {}), each, f"{prefix}{name}.")


def test_the_schema_is_strict_everywhere() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert [each for each in objects_of(schema) if each.get("additionalProperties") is not False] == []


def test_every_value_of_the_schema_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert [path for path, there in paths_of(chart().values, schema) if not there] == ["global"]


def test_every_default_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    defaults = [number for number, line in enumerate(lines) if re.match(r" *\w+: +\S", line)]

    assert len(defaults) > 80
    assert [lines[each] for each in defaults if not lines[each - 1].strip().startswith("# -- ")] == []


def test_every_value_that_the_docs_name_exists() -> None:
    named = set(re.findall(r"`([a-z]\w*(?:\.\w+)+)`", (ROOT / "docs" / "deployment.md").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = {path for path, _ in paths_of(chart().values, schema)}
    of_the_chart = {each for each in named if each.split(".")[0] in schema["properties"]}

    assert len(of_the_chart) > 10
    assert {each for each in of_the_chart if each not in known and each.rsplit(".", 1)[0] not in known} == set()


def test_the_chart_sets_only_settings_that_the_processes_read() -> None:
    known = {setting.metadata["variable"] for setting in fields(Config)}

    assert known >= SETTINGS
