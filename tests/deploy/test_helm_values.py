"""Values that are refused, and what values.yaml, its schema, the docs and the settings have to agree on."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import helm_python
import pytest

from lockstitch.config import Config
from lockstitch.tests.deploy.rendering import (
    CHART,
    ROOT,
    SETTINGS,
    VALUES_FILES,
    Object,
    Values,
    chart,
    postgresql,
    release_of,
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
        ({"worker": {"serves": ["jobs"]}}, "at '/worker/serves/0': value must be one of 'runs', 'tools'"),
        ({"worker": {"serves": []}}, "at '/worker/serves': minItems"),
        ({"workerGroups": {"GPU": {"serves": ["tools"]}}}, "invalid propertyName 'GPU'"),
        ({"workerGroups": {"gpu": {}}}, "at '/workerGroups/gpu': missing property 'serves'"),
        ({"workerGroups": {"gpu": {"serves": ["tools"], "image": "x"}}}, "'image' not allowed"),
        ({"codeWorkers": {"serves": ["code", "runs"]}}, "at '/codeWorkers/serves/1': value must be one of"),
        ({"codeWorkers": {"serves": ["files"]}}, "at '/codeWorkers/serves': no items match contains schema"),
        ({"server": {"autoscaling": {"type": "keda"}}}, "at '/server/autoscaling/type': value must be one of"),
        ({"worker": {"autoscaling": {"type": ["hpa", "keda"]}}}, "at '/worker/autoscaling/type': value must be"),
        ({"worker": {"versioning": {"deploymentName": "a.b"}}}, "at '/worker/versioning/deploymentName': "),
        ({"temporal": {"tls": {"key": "-----BEGIN"}}}, "at '/temporal/tls': additional properties 'key'"),
        ({"temporal": {"apiKey": "k"}}, "at '/temporal': additional properties 'apiKey' not allowed"),
        ({"payloads": {"externalStorage": {"url": "/var/payloads"}}}, "at '/payloads/externalStorage/url': "),
        ({"metrics": {"modelPrices": ["gpt-4o: 3"]}}, "at '/metrics/modelPrices/0': "),
        ({"metrics": {"tenantClasses": ["acme"]}}, "at '/metrics/tenantClasses/0': "),
        ({"networkPolicy": {"database": {"port": "pg"}}}, "at '/networkPolicy/database/port': got string"),
        ({"codecServer": {"origins": ["https://ui.example.com/path"]}}, "at '/codecServer/origins/0': "),
    ],
)
def test_the_schema_names_the_value_that_it_refuses(values: Values, message: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=re.escape(message)):
        render(values)


def group(**more: Any) -> Values:
    return postgresql(workerGroups={"gpu": {"serves": ["tools"], **more}})


def worker(**more: Any) -> Values:
    return postgresql(worker=more)


KEDA = {"type": "keda"}
S3 = {"payloads": {"externalStorage": {"url": "s3://payloads/production"}}}
TO_S3 = {"ports": [{"port": 443, "protocol": "TCP"}]}
OLD = {"buildId": "1.0", "tag": "1.0"}


def database(kind: str, **more: Any) -> Values:
    return {"database": {"type": kind, **more}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"server": {"replicas": 2}}, "server.replicas is 2 and database.type is sqlite"),
        ({"worker": {"replicas": 0}}, "worker.replicas is 0 and database.type is sqlite"),
        ({"worker": {"nodeSelector": {"disk": "ssd"}}}, "set nodeSelector at the top level"),
        (database("sqlite", existingSecret={"name": "s"}), "a SQLite URL is no secret"),
        (database("sqlite", tls={"caSecret": {"name": "ca"}}), "a SQLite database is a file"),
        (
            database("postgresql", url="postgresql://db/x?sslmode=verify-full", tls={"caSecret": {"name": "ca"}}),
            "add sslmode=verify-full&sslrootcert=/etc/lockstitch/database-tls/ca.crt to the URL",
        ),
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
        (
            group(extraEnv=[{"name": "LOCKSTITCH_TOOLS", "value": "x"}]) | {"tools": ["a"]},
            "gpu.extraEnv sets LOCKSTITCH_TOOLS",
        ),
        (
            postgresql(codeWorkers={"enabled": True, "extraEnv": [{"name": "OPENAI_API_KEY", "value": "k"}]}),
            "code.extraEnv sets OPENAI_API_KEY",
        ),
        ({"codeWorkers": {"enabled": True}}, "add code to worker.serves and set sandbox.type"),
        ({"workerGroups": {"gpu": {"serves": ["tools"]}}}, "lives in one pod, so leave them empty"),
        ({"worker": {"autoscaling": {"type": "hpa"}}}, "worker.autoscaling.type is hpa and database.type is sqlite"),
        (database("sqlite", migrations={"enabled": True}), "database.migrations.enabled is true and database.type is"),
        (postgresql(workerGroups={"server": {"serves": ["tools"]}}), "has a name that the chart uses itself"),
        (postgresql(workerGroups={"worker-x": {"serves": ["tools"]}}), "has a name that the chart uses itself"),
        (worker(serves=["files"]), "no worker serves runs"),
        (worker(serves=["runs"]), "no worker serves files"),
        (worker(serves=["runs", "files", "code"]), "set sandbox.type to sandlock"),
        (postgresql(sandbox={"type": "sandlock"}), "and no worker serves code"),
        (postgresql(codeWorkers={"enabled": True}, sandbox={"type": "none"}), "leave sandbox.type empty"),
        (
            postgresql(codeWorkers={"enabled": True, "resources": {"limits": None}}),
            "codeWorkers.resources.limits.memory is missing",
        ),
        (worker(previousVersions=[OLD]), "worker.versioning.enabled is false"),
        (worker(versioning={"enabled": True}, previousVersions=[OLD, OLD]), "names the build id 1.0 twice"),
        (worker(versioning={"enabled": True}, previousVersions=[{"buildId": "1"}]), "say which image it is"),
        (
            worker(versioning={"enabled": True}) | {"workerGroups": {"more": {"serves": ["files"]}}},
            "files are served by workers that carry runs and by a group that does not",
        ),
        (worker(autoscaling={"type": "hpa", "minReplicas": 11}), "minReplicas is larger than maxReplicas"),
        (worker(autoscaling={"type": "hpa", "minReplicas": 0}), "an HPA keeps one pod at least"),
        (worker(autoscaling={"type": "hpa", "hpa": {"cpu": 0}}), "there is nothing to scale by"),
        (group(autoscaling=KEDA), "workerGroups.gpu.autoscaling.type is keda and there is nothing to scale by"),
        (
            worker(autoscaling={"type": "hpa", "hpa": {"memory": 70}}, resources={"requests": {"memory": None}}),
            "worker.resources.requests.memory is missing",
        ),
        (worker(autoscaling=KEDA) | {"temporal": {"tls": {"enabled": True}}}, "KEDA speaks TLS to Temporal only with"),
        (
            worker(autoscaling=KEDA)
            | {"temporal": {"apiKeySecret": {"name": "k"}, "tls": {"enabled": True, "caSecret": {"name": "ca"}}}},
            "KEDA uses an authority of your own only together with a client certificate",
        ),
        ({"temporal": {"tls": {"serverName": "x"}}}, "temporal.tls.enabled is false: set it to true"),
        ({"temporal": {"apiKeySecret": {"name": "k"}}}, "the key would be sent in clear text"),
        ({"payloads": {"externalStorage": {"url": "file:///payloads"}}}, "a folder that not every pod shares"),
        (
            {"payloads": {"externalStorage": {"url": "s3://b/p", "existingClaim": "c"}}},
            "say in which folder the volume is mounted",
        ),
        (
            postgresql(codeWorkers={"enabled": True}) | S3,
            "codeWorkers.networkPolicy.extraEgress is empty: the pods that run code could not reach the store",
        ),
        (
            postgresql(
                codeWorkers={"enabled": True, "networkPolicy": {"enabled": False}},
                networkPolicy={"enabled": True, "extraEgress": [TO_S3]},
            )
            | S3,
            "codeWorkers.networkPolicy.extraEgress is empty: the pods that run code could not reach the store",
        ),
        (S3 | {"networkPolicy": {"enabled": True}}, "networkPolicy.extraEgress is empty: the pods could not reach"),
        (
            postgresql(codeWorkers={"enabled": True, "serves": ["code", "files"]}, embeddings={"embedder": "endpoint"}),
            "networkPolicy.models.to is empty: the pods that run code could reach everything",
        ),
        (
            postgresql(codeWorkers={"enabled": True}, metrics={"serviceMonitor": {"enabled": True}}),
            "the network policy of the pods that run code would keep Prometheus out",
        ),
        (
            {"networkPolicy": {"enabled": True}, "metrics": {"serviceMonitor": {"enabled": True}}},
            "the network policy of every pod would keep Prometheus out",
        ),
        ({"codecServer": {"origins": ["https://ui.example.com"]}}, "payloads are neither encrypted nor stored"),
        ({"tracing": {"existingSecret": {"name": "s"}}}, "say which collector the headers are for"),
        ({"alerts": {"disabled": ["NoSuchAlert"]}}, "alerts.disabled names NoSuchAlert, and there is no such alert"),
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


NOT_IN_THE_CHART = {
    "LOCKSTITCH_MODEL_SCRIPT",  # for tests
    "LOCKSTITCH_SERVER_API_KEY",  # of the starter, in the services that use it
    "LOCKSTITCH_SERVER_URL",  # of the starter
}


def test_the_chart_can_set_every_setting_and_no_others() -> None:
    known = {setting.metadata["variable"] for setting in fields(Config)}

    assert known - NOT_IN_THE_CHART == SETTINGS


@pytest.mark.parametrize("values_file", VALUES_FILES)
def test_the_processes_accept_what_the_chart_sets(values_file: str) -> None:
    release = release_of(values_file)
    for process in release.containers:
        texts = {name: text for name, text in release.environment(process).items() if isinstance(text, str)}
        config = Config.from_environment(texts)

        assert config.task_queue == release.values.get("temporal", {}).get("taskQueue", "lockstitch")
        assert {"server"} == release.serves(process) or set(config.worker_serves) == release.serves(process)


def test_the_docs_name_the_settings_that_the_chart_does_not_set() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    [sentence] = re.findall(r"^The chart sets every setting but (.+)$", text, re.MULTILINE)

    assert set(re.findall(r"`([A-Z_]+)`", sentence)) == NOT_IN_THE_CHART


def test_a_value_that_is_a_choice_is_the_choice_of_the_setting() -> None:
    """Whatever the program can be told, the chart can tell it."""
    choices = {setting.metadata["variable"]: set(setting.metadata["choices"]) for setting in fields(Config)}
    schema = json.loads((CHART / "values.schema.json").read_text())
    model, sandbox = schema["properties"]["model"], schema["properties"]["sandbox"]

    assert set(model["properties"]["provider"]["enum"]) == choices["LOCKSTITCH_MODEL"]
    assert set(model["properties"]["api"]["enum"]) == choices["LOCKSTITCH_MODEL_API"]
    assert set(sandbox["properties"]["type"]["enum"]) - {""} == choices["LOCKSTITCH_SANDBOX"]
    assert set(schema["definitions"]["serves"]["items"]["enum"]) == choices["LOCKSTITCH_WORKER_SERVES"]
    embedder = schema["properties"]["embeddings"]["properties"]["embedder"]
    assert set(embedder["enum"]) == choices["LOCKSTITCH_EMBEDDER"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOCKSTITCH_REQUEST_TIMEOUT_SECONDS", "server.requestTimeoutSeconds"),
        ("LOCKSTITCH_MAX_STREAMS", "server.maxStreams"),
        ("LOCKSTITCH_MAX_STREAMS_PER_KEY", "server.maxStreamsPerKey"),
        ("LOCKSTITCH_MODEL_TIMEOUT_SECONDS", "model.timeoutSeconds"),
        ("LOCKSTITCH_EMBEDDINGS_MODEL", "embeddings.model"),
        ("LOCKSTITCH_EMBEDDINGS_TIMEOUT_SECONDS", "embeddings.timeoutSeconds"),
        ("LOCKSTITCH_SANDBOX_WARM_KERNELS", "sandbox.warmKernels"),
        ("LOCKSTITCH_SANDBOX_MEMORY_MIB", "sandbox.memoryMib"),
        ("LOCKSTITCH_SANDBOX_PROCESSES", "sandbox.processes"),
        ("LOCKSTITCH_SANDBOX_WALL_SECONDS", "sandbox.wallSeconds"),
        ("LOCKSTITCH_SANDBOX_CPU_SECONDS", "sandbox.cpuSeconds"),
        ("LOCKSTITCH_SANDBOX_DISK_MIB", "sandbox.diskMib"),
        ("LOCKSTITCH_SANDBOX_OUTPUT_KIB", "sandbox.outputKib"),
        ("LOCKSTITCH_SANDBOX_FILES", "sandbox.files"),
        ("LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES", "worker.maxConcurrentActivities"),
        ("LOCKSTITCH_SHUTDOWN_GRACE_SECONDS", "shutdownGraceSeconds"),
        ("LOCKSTITCH_DATABASE_CONNECTIONS", "database.connections"),
    ],
)
def test_the_default_of_a_value_is_that_of_the_program(variable: str, value: str) -> None:
    [default] = [each.default for each in fields(Config) if each.metadata["variable"] == variable]
    found: Any = chart().values
    for part in value.split("."):
        found = found[part]

    assert found == (default.total_seconds() if isinstance(default, timedelta) else default)
