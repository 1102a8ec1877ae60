"""The chart renders to objects that a cluster accepts, that are confined, and that hold no secret."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm"
VALUES = Path(__file__).parent / "values"
VALUES_FILES = sorted(path.stem for path in VALUES.glob("*.yaml"))
CLUSTER_VERSIONS = ("1.30", kubernetes_validate.latest_version())

SERVER_SETTINGS = {"LOCKSTITCH_HOST", "LOCKSTITCH_PORT"}
WORKER_SETTINGS = {
    "LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES",
    "LOCKSTITCH_METRICS_HOST",
    "LOCKSTITCH_METRICS_PORT",
    "LOCKSTITCH_MODEL",
    "LOCKSTITCH_MODEL_API",
    "LOCKSTITCH_TOOLS",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
}
# Every environment variable that the processes read; the chart sets these and no others.
SETTINGS = {
    *SERVER_SETTINGS,
    *WORKER_SETTINGS,
    "LOCKSTITCH_DATABASE_URL",
    "LOCKSTITCH_LOG_FORMAT",
    "LOCKSTITCH_LOG_LEVEL",
    "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS",
    "LOCKSTITCH_TASK_QUEUE",
    "LOCKSTITCH_TEMPORAL_ADDRESS",
    "LOCKSTITCH_TEMPORAL_NAMESPACE",
}
SECRET_SETTINGS = {"LOCKSTITCH_DATABASE_URL", "OPENAI_API_KEY"}

Values = dict[str, Any]
Object = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """What one set of values renders to."""

    values: Values
    objects: list[Object]
    notes: str

    def of_kind(self, kind: str) -> dict[str, Object]:
        """The objects of one kind by their names."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    @property
    def pods(self) -> list[Object]:
        """The pod template of every Deployment."""
        return [each["spec"]["template"] for each in self.of_kind("Deployment").values()]

    @property
    def containers(self) -> dict[str, Object]:
        """The containers of all pods by their names."""
        return {each["name"]: each for pod in self.pods for each in pod["spec"]["containers"]}

    def environment(self, process: str) -> dict[str, Any]:
        """What the chart itself sets for a process: a text, or where a Secret holds it."""
        container = self.containers[process]
        own = {each["name"] for each in self.values.get(process, {}).get("extraEnv", [])}
        env = {each["name"]: each for each in container.get("env", []) if each["name"] not in own}
        config = container["envFrom"][-1]["configMapRef"]["name"]
        return {**self.of_kind("ConfigMap")[config]["data"], **env}


@cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: Values) -> Release:
    manifests = chart().render(values, name="demo", namespace="assistants", is_install=True)
    notes = next(text for path, text in manifests.items() if path.endswith("NOTES.txt"))
    texts = [text for path, text in manifests.items() if not path.endswith("NOTES.txt")]
    objects = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return Release(values, objects, notes)


@cache
def release_of(values_file: str) -> Release:
    return render(yaml.safe_load((VALUES / f"{values_file}.yaml").read_text()))


@pytest.fixture(params=VALUES_FILES)
def release(request: pytest.FixtureRequest) -> Release:
    return release_of(request.param)


def postgresql(**more: Any) -> Values:
    return {"database": {"type": "postgresql", "existingSecret": {"name": "database"}}, **more}


# What a cluster says


def test_the_linter_finds_nothing_but_the_missing_icon(release: Release) -> None:
    report = helm_python.lint(CHART, release.values, strict=True)

    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]
    assert report["errors"] == []


@pytest.mark.parametrize("version", CLUSTER_VERSIONS)
def test_the_oldest_and_the_newest_cluster_accept_every_object(release: Release, version: str) -> None:
    for each in release.objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_oldest_cluster_tested_is_the_oldest_one_that_the_chart_allows() -> None:
    assert chart().metadata["kubeVersion"] == f">={CLUSTER_VERSIONS[0]}.0-0"


def test_every_object_carries_the_standard_labels(release: Release) -> None:
    for each in [*release.objects, *release.pods]:
        assert (
            each["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/name": "lockstitch",
                "app.kubernetes.io/instance": "demo",
                "app.kubernetes.io/managed-by": "Helm",
                "app.kubernetes.io/part-of": "lockstitch",
                **release.values.get("commonLabels", {}),
            }.items()
        )


def test_the_chart_installs_the_version_of_this_tree() -> None:
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert project
    assert chart().metadata["appVersion"] == project[1]


# Confinement


def test_no_container_runs_as_root_or_can_write_to_its_root_file_system(release: Release) -> None:
    for pod in release.pods:
        assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    for container in release.containers.values():
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_each_container_has_a_tmp_of_its_own(release: Release) -> None:
    for pod in release.pods:
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            assert mounts["/tmp"] == f"tmp-{container['name']}"
            assert volumes[mounts["/tmp"]]["emptyDir"] == {"sizeLimit": "1Gi"}


def test_no_pod_gets_a_token_or_variables_named_after_services(release: Release) -> None:
    """A Service named lockstitch makes Kubernetes set LOCKSTITCH_PORT to tcp://..., unless told not to."""
    for account in release.of_kind("ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False
    for pod in release.pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("key", ["runAsUser", "runAsGroup", "fsGroup"])
def test_root_cannot_be_chosen(key: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=rf"/podSecurity/{key}'.*want 1"):
        render({"podSecurity": {key: 0}})


# Settings and secrets


def test_the_chart_sets_known_settings_only_and_each_where_it_is_read(release: Release) -> None:
    server, worker = release.environment("server"), release.environment("worker")

    assert server.keys() <= SETTINGS - WORKER_SETTINGS
    assert worker.keys() <= SETTINGS - SERVER_SETTINGS
    assert server["LOCKSTITCH_HOST"] == worker["LOCKSTITCH_METRICS_HOST"] == "0.0.0.0"


def test_every_setting_can_be_set_by_a_value() -> None:
    releases = [release_of(each) for each in VALUES_FILES]
    names = {name for each in releases for process in each.containers for name in each.environment(process)}

    assert names == SETTINGS


def test_secrets_come_by_reference_only(release: Release) -> None:
    assert not release.of_kind("Secret")
    for process in release.containers:
        environment = release.environment(process)
        references = {name for name, each in environment.items() if not isinstance(each, str)}
        assert references <= SECRET_SETTINGS
        assert all(environment[name]["valueFrom"].keys() == {"secretKeyRef"} for name in references)
        assert isinstance(environment.get("OPENAI_API_KEY", {}), dict)


def test_both_processes_read_the_database_url_from_the_secret_and_only_the_worker_gets_the_key() -> None:
    release = release_of("postgresql-scaled")
    server, worker = release.environment("server"), release.environment("worker")

    reference = {"secretKeyRef": {"name": "lockstitch-database", "key": "uri"}}
    assert server["LOCKSTITCH_DATABASE_URL"]["valueFrom"] == reference
    assert worker["LOCKSTITCH_DATABASE_URL"]["valueFrom"] == reference
    assert worker["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "model-endpoint"
    assert worker["LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES"] == "1000000"


def test_a_changed_setting_restarts_only_the_process_that_reads_it() -> None:
    before, after = render(postgresql()), render(postgresql(tools=["shop.orders"]))
    server, worker = (
        [
            each.of_kind("Deployment")[f"demo-lockstitch-{process}"]["spec"]["template"]
            for each in (before, after)
        ]
        for process in ("server", "worker")
    )

    assert server[0] == server[1]
    assert worker[0]["metadata"]["annotations"] != worker[1]["metadata"]["annotations"]


# Life and death of a pod


def test_every_container_is_probed_on_its_own_port(release: Release) -> None:
    for process, port in {"server": ("http", 8700), "worker": ("metrics", 9464)}.items():
        container = release.containers[process]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}

        assert container["ports"] == [{"name": port[0], "containerPort": port[1]}]
        assert probes == {
            "startup": {"path": "/healthz", "port": port[0]},
            "liveness": {"path": "/healthz", "port": port[0]},
            "readiness": {"path": "/readyz", "port": port[0]},
        }


def test_a_pod_is_killed_only_after_draining_and_the_grace_of_its_processes(release: Release) -> None:
    grace = int(release.environment("server")["LOCKSTITCH_SHUTDOWN_GRACE_SECONDS"])
    drain = release.containers["server"].get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})

    for pod in release.pods:
        left = pod["spec"]["terminationGracePeriodSeconds"] - drain["preStop"]["sleep"]["seconds"] - grace
        assert left >= 10


def test_each_container_starts_its_process_with_its_resources(release: Release) -> None:
    assert {name: each["args"] for name, each in release.containers.items()} == {
        "server": ["serve"],
        "worker": ["worker"],
    }
    assert all(each["resources"]["limits"]["memory"] for each in release.containers.values())


# SQLite: one pod


@pytest.mark.parametrize(
    ("name", "claim"), [("defaults", "demo-lockstitch-data"), ("sqlite-existing-claim", "runs-2026")]
)
def test_with_sqlite_one_pod_holds_both_processes_on_one_volume(name: str, claim: str) -> None:
    release = release_of(name)
    [deployment] = release.of_kind("Deployment").values()
    volumes = {each["name"]: each for each in release.pods[0]["spec"]["volumes"]}

    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": claim}
    for process in ("server", "worker"):
        assert {"name": "data", "mountPath": "/data"} in release.containers[process]["volumeMounts"]
        assert release.environment(process)["LOCKSTITCH_DATABASE_URL"].startswith("sqlite:////data/")
    assert not release.of_kind("PodDisruptionBudget")


def test_the_claim_is_for_one_node_and_outlives_the_release() -> None:
    [claim] = render({}).of_kind("PersistentVolumeClaim").values()

    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "storageClassName" not in claim["spec"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(("value", "rendered"), [("fast", "fast"), ("-", "")])
def test_the_storage_class_can_be_named_or_switched_off(value: str, rendered: str) -> None:
    [claim] = (
        render({"database": {"persistence": {"storageClass": value}}})
        .of_kind("PersistentVolumeClaim")
        .values()
    )

    assert claim["spec"]["storageClassName"] == rendered


def test_without_persistence_nothing_is_claimed_and_the_notes_warn() -> None:
    release = release_of("sqlite-trial")

    assert not release.of_kind("PersistentVolumeClaim")
    assert {"name": "data", "emptyDir": {}} in release.pods[0]["spec"]["volumes"]
    assert "The database is lost with its pod." in release.notes


# PostgreSQL: two Deployments


def test_with_postgresql_server_and_worker_scale_apart() -> None:
    release = release_of("postgresql-scaled")
    deployments, budgets = release.of_kind("Deployment"), release.of_kind("PodDisruptionBudget")

    assert {name: each["spec"]["replicas"] for name, each in deployments.items()} == {
        "demo-lockstitch-server": 3,
        "demo-lockstitch-worker": 4,
    }
    assert budgets.keys() == deployments.keys()
    for name, deployment in deployments.items():
        assert budgets[name]["spec"]["selector"] == deployment["spec"]["selector"]
        assert budgets[name]["spec"]["maxUnavailable"] == "34%"
    assert not release.of_kind("PersistentVolumeClaim")


def test_a_single_replica_has_no_disruption_budget_that_would_block_its_node() -> None:
    assert not render(postgresql()).of_kind("PodDisruptionBudget")


def test_a_process_may_be_placed_by_itself_and_takes_the_common_place_otherwise() -> None:
    release = release_of("postgresql-scaled")
    server, worker = (pod["spec"] for pod in release.pods)

    assert server["nodeSelector"] == worker["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "affinity" not in server
    assert "podAntiAffinity" in worker["affinity"]
    [zones], [hosts] = server["topologySpreadConstraints"], worker["topologySpreadConstraints"]
    assert zones["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    assert hosts["labelSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "lockstitch"}


# Services, Ingress, image


def matches(selector: dict[str, str], pod: Object) -> bool:
    labels: dict[str, str] = pod["metadata"]["labels"]
    return selector.items() <= labels.items()


def test_the_service_reaches_the_server_and_the_scraper_reaches_every_pod(release: Release) -> None:
    services = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]
        for each in release.objects
        if each["kind"] == "Service"
    }
    reached = [pod for pod in release.pods if matches(services["server"]["selector"], pod)]

    assert ["server" in [each["name"] for each in pod["spec"]["containers"]] for pod in reached] == [True]
    assert services["metrics"]["clusterIP"] == "None"
    assert all(matches(services["metrics"]["selector"], pod) for pod in release.pods)
    targets = {each["targetPort"] for each in services["metrics"]["ports"]}
    assert targets == {each["ports"][0]["name"] for each in release.containers.values()}


def test_every_deployment_selects_its_own_pods_and_no_others(release: Release) -> None:
    for deployment in release.of_kind("Deployment").values():
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert [pod for pod in release.pods if matches(selector, pod)] == [deployment["spec"]["template"]]


def test_labels_of_the_values_cannot_break_the_selectors() -> None:
    release = render(
        {"podLabels": {"app.kubernetes.io/component": "other"}, "commonLabels": {"team": "support"}}
    )
    [deployment] = release.of_kind("Deployment").values()

    assert matches(deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"])
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "support"


def test_the_ingress_shows_the_api_and_keeps_the_metrics_inside() -> None:
    release = release_of("postgresql-scaled")
    [ingress] = release.of_kind("Ingress").values()
    paths = {
        rule["host"]: [each["path"] for each in rule["http"]["paths"]] for rule in ingress["spec"]["rules"]
    }

    assert paths == {"assistants.example.com": ["/v1"], "api.example.com": ["/v1/threads"]}
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] in release.of_kind("Service")
    assert "https://assistants.example.com/v1" in release.notes


def test_the_image_comes_from_the_registry_that_the_values_name() -> None:
    release = release_of("postgresql-private-registry")

    for pod in release.pods:
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry-credentials"}]
    for container in release.containers.values():
        assert re.fullmatch(
            r"registry\.example\.com:5000/support/lockstitch:0\.1\.0-shop@sha256:\w{64}", container["image"]
        )
        assert container["imagePullPolicy"] == "Always"


def test_variables_of_ones_own_reach_their_process_and_do_not_win_over_the_chart() -> None:
    worker = release_of("postgresql-private-registry").containers["worker"]

    assert worker["envFrom"] == [
        {"secretRef": {"name": "shop-settings"}},
        {"configMapRef": {"name": "demo-lockstitch-worker"}},
    ]
    assert worker["env"] == [
        {"name": "SHOP_TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}},
    ]


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
        ({"ingress": {"enabled": True}}, "name at least one host"),
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
    assert {
        each for each in of_the_chart if each not in known and each.rsplit(".", 1)[0] not in known
    } == set()
