"""Groups of workers, the group that runs code, versions that stay, autoscalers and the migrations."""

from typing import Any

import pytest

from lockstitch.tests.deploy.cluster import cluster_with, deployments_on
from lockstitch.tests.deploy.rendering import (
    NAMESPACE,
    ROOT,
    RUN_SETTINGS,
    SEARCH_SETTINGS,
    SECRET_SETTINGS,
    VALUES_FILES,
    Object,
    Release,
    Values,
    postgresql,
    release_of,
    render,
)

OLDEST = "sha256:1f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture
def everything() -> Release:
    return release_of("everything-on")


def pod_of(release: Release, process: str) -> Object:
    spec: Object = release.of_kind("Deployment")[f"demo-lockstitch-{process}"]["spec"]["template"]["spec"]
    return spec


# Groups


def test_each_group_is_a_deployment_that_serves_what_it_says(everything: Release) -> None:
    assert {process: sorted(everything.serves(process)) for process in everything.containers} == {
        "server": ["server"],
        "worker": ["runs"],
        "worker-0-0-9-shop": ["runs"],
        "worker-0-0-8-shop": ["runs"],
        "files": ["files"],
        "vision": ["tools"],
        "code": ["code"],
    }
    assert {f"demo-lockstitch-{process}" for process in everything.containers} == everything.of_kind(
        "Deployment"
    ).keys()


def test_a_group_has_its_own_values_and_those_of_the_worker_where_it_has_none() -> None:
    values = postgresql(
        tools=["shop.orders"],
        worker={
            "replicas": 5,
            "maxConcurrentActivities": 50,
            "nodeSelector": {"disk": "ssd"},
            "extraEnv": [{"name": "SHOP", "value": "x"}],
        },
        workerGroups={
            "plain": {"serves": ["tools"]},
            "special": {"serves": ["tools"], "replicas": 2, "tools": ["shop.vision"], "nodeSelector": {"gpu": "yes"}},
        },
    )
    release = render(values)
    plain, special = release.environment("plain"), release.environment("special")
    replicas = {name: each["spec"]["replicas"] for name, each in release.of_kind("Deployment").items()}

    assert (plain["LOCKSTITCH_TOOLS"], special["LOCKSTITCH_TOOLS"]) == ("shop.orders", "shop.vision")
    assert plain["LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES"] == "50"
    assert pod_of(release, "plain")["nodeSelector"] == {"disk": "ssd"}
    assert pod_of(release, "special")["nodeSelector"] == {"gpu": "yes"}
    assert {"name": "SHOP", "value": "x"} in release.containers["special"]["env"]
    assert (replicas["demo-lockstitch-plain"], replicas["demo-lockstitch-special"]) == (1, 2)


# The group that runs code


def test_the_group_of_code_gets_no_key_but_those_without_which_it_could_not_work(everything: Release) -> None:
    code = everything.environment("code")

    assert code.keys() & SECRET_SETTINGS == {
        "LOCKSTITCH_DATABASE_URL",
        "LOCKSTITCH_PAYLOAD_KEYS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    }
    assert not code.keys() & (RUN_SETTINGS | SEARCH_SETTINGS | {"LOCKSTITCH_TOOLS", "LOCKSTITCH_LINK_SECRETS"})


def test_code_workers_that_embed_documents_get_the_key_of_that_endpoint_and_no_other() -> None:
    values = postgresql(
        codeWorkers={"enabled": True, "serves": ["code", "files"]},
        embeddings={"embedder": "endpoint", "existingSecret": {"name": "embeddings"}},
        model={"existingSecret": {"name": "model-endpoint"}},
        networkPolicy={"models": {"to": [{"podSelector": {"matchLabels": {"app": "embedder"}}}]}},
    )

    keys = render(values).environment("code").keys() & SECRET_SETTINGS
    assert keys == {"LOCKSTITCH_DATABASE_URL", "LOCKSTITCH_EMBEDDINGS_API_KEY"}


def test_the_group_of_code_is_apart_in_every_way(everything: Release) -> None:
    pod, [container] = pod_of(everything, "code"), pod_of(everything, "code")["containers"]
    volumes = {each["name"]: each.get("emptyDir") for each in pod["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    account = everything.of_kind("ServiceAccount")[pod["serviceAccountName"]]

    assert pod["serviceAccountName"] == "demo-lockstitch-code" != pod_of(everything, "worker")["serviceAccountName"]
    assert (account["automountServiceAccountToken"], pod["automountServiceAccountToken"]) == (False, False)
    assert account["metadata"]["annotations"] == {"example.com/purpose": "code"}
    assert (pod["runtimeClassName"], pod["nodeSelector"]) == ("kata", {"pool": "untrusted"})
    assert volumes[mounts["/dev/shm"]] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert volumes[mounts["/tmp"]] == {"sizeLimit": "12Gi"}
    assert container["resources"]["limits"]["memory"] == "4Gi"


@pytest.mark.parametrize("values_file", VALUES_FILES)
def test_the_extras_are_in_the_image_of_those_who_need_them_and_of_no_others(values_file: str) -> None:
    release = release_of(values_file)
    for process, container in release.containers.items():
        environment = release.environment(process)
        confines = environment["LOCKSTITCH_SANDBOX"] != "none" and release.serves(process) & {"files", "code"}
        needs = bool(confines) or environment["LOCKSTITCH_EMBEDDER"] != "none"

        assert ("lockstitch-code:" in container["image"]) is needs, process
        mounted = "/dev/shm" in [each["mountPath"] for each in container["volumeMounts"]]
        assert mounted is bool(confines)


def test_one_switch_gives_a_group_of_code_and_tells_every_process_of_the_sandbox() -> None:
    release = render(postgresql(codeWorkers={"enabled": True}))

    assert {release.environment(each)["LOCKSTITCH_SANDBOX"] for each in release.containers} == {"sandlock"}
    assert release.serves("code") == {"code"}


def test_with_sqlite_the_worker_itself_runs_code() -> None:
    release = release_of("sqlite-with-code")

    assert release.serves("worker") == {"runs", "tools", "files", "code"}
    assert release.environment("server")["LOCKSTITCH_SANDBOX"] == "sandlock"
    assert release.containers["server"]["image"] == "lockstitch:0.1.0"


# Versions


def test_the_workers_of_runs_tell_temporal_their_version_and_the_others_do_not(everything: Release) -> None:
    versions = {
        process: (environment["LOCKSTITCH_DEPLOYMENT_NAME"], environment["LOCKSTITCH_BUILD_ID"])
        for process in everything.containers
        if "LOCKSTITCH_BUILD_ID" in (environment := everything.environment(process))
    }

    assert versions == {
        "worker": ("assistants-runs", "0.1.0-shop"),
        "worker-0-0-9-shop": ("assistants-runs", "0.0.9-shop"),
        "worker-0-0-8-shop": ("assistants-runs", "0.0.8_shop"),
    }


def test_an_older_version_stays_with_its_image_and_without_settings_that_it_does_not_know(everything: Release) -> None:
    older, oldest = everything.containers["worker-0-0-9-shop"], everything.containers["worker-0-0-8-shop"]
    deployment = everything.of_kind("Deployment")["demo-lockstitch-worker-0-0-9-shop"]
    unknown = {"OTEL_SERVICE_NAME", "LOCKSTITCH_PAYLOAD_KEYS"}

    assert older["image"] == "registry.example.com/lockstitch-code:0.0.9-shop"
    assert oldest["image"] == f"registry.example.com/lockstitch-code:0.1.0@{OLDEST}"
    assert deployment["spec"]["replicas"] == 2
    assert not everything.environment("worker-0-0-9-shop").keys() & unknown
    assert everything.environment("worker").keys() >= unknown


@pytest.mark.parametrize(
    ("image", "build_id"), [({}, "0.1.0"), ({"tag": "2.0"}, "2.0"), ({"digest": "sha256:" + "ab" * 32}, "abababababab")]
)
def test_a_version_is_called_after_its_image(image: Object, build_id: str) -> None:
    release = render(postgresql(image=image, worker={"versioning": {"enabled": True}}))

    assert release.environment("worker")["LOCKSTITCH_BUILD_ID"] == build_id
    assert release.environment("worker")["LOCKSTITCH_DEPLOYMENT_NAME"] == "demo-lockstitch"


def test_without_versioning_no_worker_has_a_version() -> None:
    assert not render(postgresql()).environment("worker").keys() & {"LOCKSTITCH_BUILD_ID", "LOCKSTITCH_DEPLOYMENT_NAME"}


# Autoscalers


def test_whatever_scales_a_deployment_decides_its_replicas_alone(everything: Release) -> None:
    scaled = [
        each["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for each in everything.of_kind(kind).values()
    ]
    counted = [name for name, each in everything.of_kind("Deployment").items() if "replicas" in each["spec"]]

    assert sorted(scaled + counted) == sorted(everything.of_kind("Deployment"))
    assert everything.of_kind("PodDisruptionBudget").keys() >= set(scaled)


def live(process: str, replicas: int, *managers: Object) -> Object:
    """A Deployment of the release as the API server shows it, with who has set what."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"demo-lockstitch-{process}",
            "namespace": NAMESPACE,
            "managedFields": [{"apiVersion": "apps/v1", "fieldsType": "FieldsV1", **each} for each in managers],
        },
        "spec": {"replicas": replicas},
    }


BY_HELM_3 = {"manager": "helm", "operation": "Update"}
BY_HELM_4 = {"manager": "helm", "operation": "Apply"}
BY_HPA = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale"}


def upgraded(values: Values, *deployments: Object) -> dict[str, int | None]:
    """The number that each Deployment asks for in an upgrade of a cluster with these, by the names of the processes."""
    with cluster_with(list(deployments)) as config:
        applied = deployments_on(config, values)
    return {name.removeprefix("demo-lockstitch-"): each["spec"].get("replicas") for name, each in applied.items()}


@pytest.mark.parametrize("managers", [(BY_HELM_3,), (BY_HELM_4,), (BY_HELM_3, BY_HPA)])
def test_an_autoscaler_takes_over_the_pods_that_there_are(managers: tuple[Object, ...]) -> None:
    values = postgresql(server={"replicas": 2}, worker={"replicas": 3, "autoscaling": {"type": "keda"}})

    assert upgraded(values, live("server", 5), live("worker", 10, *managers)) == {"server": 2, "worker": 10}


def test_a_number_that_the_autoscaler_has_set_is_left_to_it_where_another_one_would_be_a_conflict() -> None:
    values = postgresql(worker={"autoscaling": {"type": "hpa"}})

    assert upgraded(values, live("worker", 10, BY_HELM_4, BY_HPA))["worker"] is None


def test_a_deployment_that_is_new_under_an_autoscaler_asks_for_no_number() -> None:
    values = postgresql(worker={"autoscaling": {"type": "hpa", "minReplicas": 4}})

    assert upgraded(values, live("server", 1)) == {"server": 1, "worker": None}


@pytest.mark.parametrize(("kind", "replicas"), [("hpa", 4), ("keda", 0)])
def test_a_deployment_without_pods_gets_some_where_its_autoscaler_would_give_it_none(kind: str, replicas: int) -> None:
    values = postgresql(worker={"autoscaling": {"type": kind, "minReplicas": 4}})

    assert upgraded(values, live("worker", 0, BY_HELM_3))["worker"] == replicas


def triggers_of(release: Release, process: str) -> list[dict[str, Any]]:
    scaled: list[dict[str, Any]] = release.of_kind("ScaledObject")[f"demo-lockstitch-{process}"]["spec"]["triggers"]
    return scaled


def test_keda_looks_at_the_task_queues_that_the_workers_serve() -> None:
    values = postgresql(
        temporal={"taskQueue": "shop"},
        worker={"serves": ["runs", "files"], "autoscaling": {"type": "keda"}},
        codeWorkers={"enabled": True, "autoscaling": {"type": "keda"}},
    )
    release = render(values)
    worker = {each["metadata"]["taskQueue"]: each["metadata"] for each in triggers_of(release, "worker")}
    [code] = triggers_of(release, "code")

    assert {queue: each["queueTypes"] for queue, each in worker.items()} == {
        "shop": "workflow,activity",
        "shop-files": "activity",
    }
    assert code["metadata"]["taskQueue"] == "shop-code"
    assert worker["shop"]["enableTLS"] == "false"
    assert "authenticationRef" not in code
    assert not release.of_kind("TriggerAuthentication")


def test_keda_looks_at_the_version_and_signs_in_as_the_workers_do() -> None:
    release = release_of("temporal-cloud")
    [authentication] = release.of_kind("TriggerAuthentication").values()
    references = {each["parameter"]: (each["name"], each["key"]) for each in authentication["spec"]["secretTargetRef"]}

    for trigger in triggers_of(release, "worker"):
        metadata = trigger["metadata"]
        assert (metadata["enableTLS"], metadata["tlsServerName"]) == ("true", "assistants.a1b2c.tmprl.cloud")
        assert metadata["workerDeploymentName"] == "demo-lockstitch"
        assert metadata["workerDeploymentBuildId"] == "0f1e2d3c4b5a"
        assert all(isinstance(value, str) for value in metadata.values())
        assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    assert references == {
        "apiKey": ("temporal-cloud", "api-key"),
        "cert": ("temporal-client", "tls.crt"),
        "key": ("temporal-client", "tls.key"),
        "ca": ("temporal-ca", "ca.crt"),
    }


# Temporal Cloud


def test_certificates_are_mounted_as_files_that_only_the_processes_read() -> None:
    release = release_of("temporal-cloud")
    for process, container in release.containers.items():
        pod, environment = pod_of(release, process), release.environment(process)
        [volume] = [each for each in pod["volumes"] if each["name"] == "temporal-tls"]
        [mount] = [each for each in container["volumeMounts"] if each["name"] == "temporal-tls"]
        paths = [item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]]

        assert (volume["projected"]["defaultMode"], mount["readOnly"]) == (0o440, True)
        assert {f"{mount['mountPath']}/{path}" for path in paths} == {
            environment[f"LOCKSTITCH_TEMPORAL_TLS_{part}"] for part in ("CA", "CERT", "KEY")
        }
        assert environment["LOCKSTITCH_TEMPORAL_TLS"] == "true"
        reference = environment["LOCKSTITCH_TEMPORAL_API_KEY"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "temporal-cloud", "key": "api-key"}


# The database

DATABASE_CA = "/etc/lockstitch/database-tls/ca.crt"


def test_every_pod_that_opens_the_database_has_the_authority_that_signed_its_certificate() -> None:
    release = release_of("temporal-cloud")

    assert [kind for kind in ("Deployment", "Job") if release.of_kind(kind)] == ["Deployment", "Job"]
    for pod in release.pods:
        [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "database-tls"]
        [source] = volume["projected"]["sources"]
        [item] = source["secret"]["items"]
        assert (source["secret"]["name"], item["key"]) == ("database-authority", "authority.pem")
        assert volume["projected"]["defaultMode"] == 0o440
        for container in pod["spec"]["containers"]:
            [mount] = [each for each in container["volumeMounts"] if each["name"] == "database-tls"]
            assert (f"{mount['mountPath']}/{item['path']}", mount["readOnly"]) == (DATABASE_CA, True)


def test_a_url_that_names_the_authority_is_taken_and_without_one_nothing_is_mounted() -> None:
    url = f"postgresql://db/x?sslmode=verify-full&sslrootcert={DATABASE_CA}"
    values = {"type": "postgresql", "url": url}
    named = render({"database": values | {"tls": {"caSecret": {"name": "ca"}}}})

    assert named.environment("worker")["LOCKSTITCH_DATABASE_URL"] == url
    assert "database-tls" in [each["name"] for each in pod_of(named, "worker")["volumes"]]
    assert "database-tls" not in [each["name"] for each in pod_of(render({"database": values}), "worker")["volumes"]]


@pytest.mark.parametrize("page", ["deployment.md", "database.md"])
def test_the_docs_name_the_file_of_the_authority(page: str) -> None:
    assert DATABASE_CA in (ROOT / "docs" / page).read_text()


# Migrations


def test_the_tables_are_upgraded_before_anything_else_of_the_release_is_changed(everything: Release) -> None:
    [job] = everything.of_kind("Job").values()
    hooks = [each for each in everything.objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    weights = {each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in hooks}
    [container] = job["spec"]["template"]["spec"]["containers"]

    assert {each["metadata"]["annotations"]["helm.sh/hook"] for each in hooks} == {"pre-install,pre-upgrade"}
    assert weights.keys() == {"ConfigMap", "Job", "NetworkPolicy", "ServiceAccount"}
    assert weights.pop("Job") > max(weights.values())
    assert container["args"] == ["db", "upgrade"]
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "lockstitch-database", "key": "uri"}
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (3, 900)
    for process in everything.containers:
        assert everything.environment(process)["LOCKSTITCH_DATABASE_AUTO_UPGRADE"] == "false"


def test_the_migrations_refer_to_nothing_that_the_release_has_yet_to_make(everything: Release) -> None:
    """Before the first install there is nothing but what the hooks bring along."""
    [job] = everything.of_kind("Job").values()
    pod = job["spec"]["template"]["spec"]
    [source] = pod["containers"][0]["envFrom"]
    made = {
        (each["kind"], each["metadata"]["name"])
        for each in everything.objects
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    }

    assert ("ServiceAccount", pod["serviceAccountName"]) in made
    assert ("ConfigMap", source["configMapRef"]["name"]) in made
    assert {each["name"]: list(each)[1] for each in pod["volumes"]} == {"tmp": "emptyDir"}
