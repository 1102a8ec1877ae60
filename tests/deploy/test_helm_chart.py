"""The chart renders to objects that a cluster accepts, that are confined, and that hold no secret."""

import re

import helm_python
import jsonschema
import kubernetes_validate
import pytest

from lockstitch.tests.deploy import cluster_schemas, custom_resources
from lockstitch.tests.deploy.rendering import (
    CHART,
    ROOT,
    RUN_SETTINGS,
    SEARCH_SETTINGS,
    SECRET_SETTINGS,
    SERVER_SETTINGS,
    SESSION_SETTINGS,
    SETTINGS,
    VALUES_FILES,
    WORKER_SETTINGS,
    Object,
    Release,
    chart,
    postgresql,
    release_of,
    render,
)
from lockstitch.worker import STOP_MARGIN

OLDEST_CLUSTER = "1.30"
CLUSTER_VERSIONS = (cluster_schemas.newest_release(OLDEST_CLUSTER), kubernetes_validate.latest_version())


@pytest.fixture(params=VALUES_FILES)
def release(request: pytest.FixtureRequest) -> Release:
    return release_of(request.param)


# What a cluster says


def test_the_linter_finds_nothing_but_the_missing_icon(release: Release) -> None:
    report = helm_python.lint(CHART, release.values, strict=True)

    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]
    assert report["errors"] == []


@pytest.mark.parametrize("version", CLUSTER_VERSIONS)
def test_the_oldest_and_the_newest_cluster_accept_every_object(release: Release, version: str) -> None:
    for each in release.objects:
        if each["kind"] in custom_resources.KINDS:
            custom_resources.validate(each)
        else:
            cluster_schemas.validate(each, version)


def test_a_cluster_refuses_what_it_does_not_know() -> None:
    [deployment] = release_of("defaults").of_kind("Deployment").values()

    for version in CLUSTER_VERSIONS:
        with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
            cluster_schemas.validate(deployment | {"spec": deployment["spec"] | {"replica": 2}}, version)


def test_the_oldest_cluster_tested_is_the_oldest_one_that_the_chart_allows() -> None:
    assert chart().metadata["kubeVersion"] == f">={OLDEST_CLUSTER}.0-0"


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
        for container in pod["spec"]["containers"]:
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
            assert mounts["/tmp"].startswith("tmp")
            assert volumes[mounts["/tmp"]]["emptyDir"].keys() == {"sizeLimit"}
        of_containers = [name for name in volumes if name.startswith("tmp")]
        assert len(of_containers) == len(pod["spec"]["containers"])


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
    for process in release.containers:
        environment, serves = release.environment(process), release.serves(process)
        unread = WORKER_SETTINGS if process == "server" else SERVER_SETTINGS
        if not serves & {"runs"}:
            unread = unread | RUN_SETTINGS
        if not serves & {"files", "code"}:
            unread = unread | SESSION_SETTINGS
        if not serves & {"server", "runs", "files"}:
            unread = unread | SEARCH_SETTINGS

        assert environment.keys() <= SETTINGS - unread, process
        assert environment["LOCKSTITCH_HOST" if process == "server" else "LOCKSTITCH_METRICS_HOST"] == "0.0.0.0"


def test_what_has_to_be_the_same_for_every_process_is(release: Release) -> None:
    environments = [release.environment(process) for process in release.containers]

    for name in ("LOCKSTITCH_SANDBOX", "LOCKSTITCH_EMBEDDER", "LOCKSTITCH_TASK_QUEUE", "LOCKSTITCH_TEMPORAL_NAMESPACE"):
        assert len({each[name] for each in environments}) == 1


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


def test_only_the_worker_knows_the_assistants_server() -> None:
    release = release_of("postgresql-scaled")
    server, worker = release.environment("server"), release.environment("worker")

    assert not [name for name in server if "ASSISTANTS" in name]
    assert worker["LOCKSTITCH_ASSISTANTS_URL"] == "https://assistants-resource.example.com"
    assert worker["LOCKSTITCH_ASSISTANTS_API_VERSION"] == "2024-05-01-preview"
    assert worker["LOCKSTITCH_ADOPT_THREADS"] == "thread_1,thread_2"
    reference = {"name": "assistants-server", "key": "api-key"}
    assert worker["LOCKSTITCH_ASSISTANTS_API_KEY"]["valueFrom"]["secretKeyRef"] == reference


def test_only_the_worker_may_notify_and_both_processes_know_the_secrets_of_decision_links() -> None:
    release = release_of("postgresql-scaled")
    server, worker = release.environment("server"), release.environment("worker")

    assert not server.keys() & {"LOCKSTITCH_WEBHOOK_URL", "LOCKSTITCH_WEBHOOK_SECRETS"}
    assert worker["LOCKSTITCH_WEBHOOK_URL"]["valueFrom"]["secretKeyRef"] == {"name": "on-call", "key": "endpoint"}
    assert worker["LOCKSTITCH_WEBHOOK_SECRETS"]["valueFrom"]["secretKeyRef"] == {"name": "on-call", "key": "secrets"}
    assert worker["LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE"] == "true"
    assert server["LOCKSTITCH_LINK_SECRETS"] == worker["LOCKSTITCH_LINK_SECRETS"]


def test_a_changed_setting_restarts_only_the_process_that_reads_it() -> None:
    before, after = render(postgresql()), render(postgresql(tools=["shop.orders"]))
    server, worker = (
        [each.of_kind("Deployment")[f"demo-lockstitch-{process}"]["spec"]["template"] for each in (before, after)]
        for process in ("server", "worker")
    )

    assert server[0] == server[1]
    assert worker[0]["metadata"]["annotations"] != worker[1]["metadata"]["annotations"]


# Life and death of a pod


def test_every_container_is_probed_on_its_own_port(release: Release) -> None:
    for process, container in release.containers.items():
        port = ("http", 8700) if process == "server" else ("metrics", 9464)
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

    for deployment in release.of_kind("Deployment").values():
        pod = deployment["spec"]["template"]
        left = pod["spec"]["terminationGracePeriodSeconds"] - drain["preStop"]["sleep"]["seconds"] - grace
        assert left > STOP_MARGIN.total_seconds()


def test_each_container_starts_its_process_with_its_resources(release: Release) -> None:
    assert all(each["args"] == ["serve" if name == "server" else "worker"] for name, each in release.containers.items())
    assert release.containers.keys() >= {"server", "worker"}
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
    [claim] = render({"database": {"persistence": {"storageClass": value}}}).of_kind("PersistentVolumeClaim").values()

    assert claim["spec"]["storageClassName"] == rendered


def test_without_persistence_nothing_is_claimed_and_the_notes_warn() -> None:
    release = release_of("sqlite-trial")

    assert not release.of_kind("PersistentVolumeClaim")
    assert {"name": "data", "emptyDir": {}} in release.pods[0]["spec"]["volumes"]
    assert "The database is lost with its pod." in release.notes
    [deployment] = release.of_kind("Deployment")
    assert f"exec deployment/{deployment} --container worker -- lockstitch keys create" in release.notes


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
    deployments = release.of_kind("Deployment").values()
    assert all(matches(services["metrics"]["selector"], each["spec"]["template"]) for each in deployments)
    targets = {each["targetPort"] for each in services["metrics"]["ports"]}
    assert targets == {each["ports"][0]["name"] for each in release.containers.values()}


def test_every_deployment_selects_its_own_pods_and_no_others(release: Release) -> None:
    for deployment in release.of_kind("Deployment").values():
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert [pod for pod in release.pods if matches(selector, pod)] == [deployment["spec"]["template"]]


def test_labels_of_the_values_cannot_break_the_selectors() -> None:
    release = render({"podLabels": {"app.kubernetes.io/component": "other"}, "commonLabels": {"team": "support"}})
    [deployment] = release.of_kind("Deployment").values()

    assert matches(deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"])
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "support"


def test_the_ingress_shows_the_api_and_keeps_the_metrics_inside() -> None:
    release = release_of("postgresql-scaled")
    [ingress] = release.of_kind("Ingress").values()
    paths = {rule["host"]: [each["path"] for each in rule["http"]["paths"]] for rule in ingress["spec"]["rules"]}

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
