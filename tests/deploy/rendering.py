"""Renders the chart, for the tests of this folder."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm"
VALUES = Path(__file__).parent / "values"
NAMESPACE = "assistants"
VALUES_FILES = sorted(path.stem for path in VALUES.glob("*.yaml"))

SERVER_SETTINGS = {
    "LOCKSTITCH_CODEC_ORIGINS",
    "LOCKSTITCH_HOST",
    "LOCKSTITCH_MAX_STREAMS",
    "LOCKSTITCH_MAX_STREAMS_PER_KEY",
    "LOCKSTITCH_PORT",
    "LOCKSTITCH_REQUEST_TIMEOUT_SECONDS",
    "LOCKSTITCH_TEMPORAL_UI_URL",
}
# What only the workers that carry runs read, and among them the keys of everything outside.
RUN_SETTINGS = {
    "LOCKSTITCH_ADOPT_THREADS",
    "LOCKSTITCH_ASSISTANTS_API_KEY",
    "LOCKSTITCH_ASSISTANTS_API_VERSION",
    "LOCKSTITCH_ASSISTANTS_URL",
    "LOCKSTITCH_BUDGET_DOLLARS_PER_DAY",
    "LOCKSTITCH_BUILD_ID",
    "LOCKSTITCH_DELIVERIES_KEPT_DAYS",
    "LOCKSTITCH_DEPLOYMENT_NAME",
    "LOCKSTITCH_MODEL",
    "LOCKSTITCH_MODEL_API",
    "LOCKSTITCH_MODEL_CONTEXT_TOKENS",
    "LOCKSTITCH_MODEL_PRICES",
    "LOCKSTITCH_MODEL_TIMEOUT_SECONDS",
    "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE",
    "LOCKSTITCH_WEBHOOK_SECRETS",
    "LOCKSTITCH_WEBHOOK_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
}
SESSION_SETTINGS = {
    "LOCKSTITCH_SANDBOX_CPU_SECONDS",
    "LOCKSTITCH_SANDBOX_DISK_MIB",
    "LOCKSTITCH_SANDBOX_FILES",
    "LOCKSTITCH_SANDBOX_MEMORY_MIB",
    "LOCKSTITCH_SANDBOX_OUTPUT_KIB",
    "LOCKSTITCH_SANDBOX_PROCESSES",
    "LOCKSTITCH_SANDBOX_PYTHON",
    "LOCKSTITCH_SANDBOX_WALL_SECONDS",
    "LOCKSTITCH_SANDBOX_WARM_KERNELS",
}
WORKER_SETTINGS = {
    *RUN_SETTINGS,
    *SESSION_SETTINGS,
    "LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES",
    "LOCKSTITCH_METRICS_HOST",
    "LOCKSTITCH_METRICS_PORT",
    "LOCKSTITCH_TENANT_CLASSES",
    "LOCKSTITCH_TOOLS",
    "LOCKSTITCH_WORKER_SERVES",
}
SEARCH_SETTINGS = {
    "LOCKSTITCH_EMBEDDINGS_API_KEY",
    "LOCKSTITCH_EMBEDDINGS_DIMENSIONS",
    "LOCKSTITCH_EMBEDDINGS_MODEL",
    "LOCKSTITCH_EMBEDDINGS_TIMEOUT_SECONDS",
    "LOCKSTITCH_EMBEDDINGS_URL",
}
# Every environment variable that the processes read; the chart sets these and no others.
SETTINGS = {
    *SERVER_SETTINGS,
    *WORKER_SETTINGS,
    *SEARCH_SETTINGS,
    "LOCKSTITCH_DATABASE_AUTO_UPGRADE",
    "LOCKSTITCH_DATABASE_CONNECTIONS",
    "LOCKSTITCH_DATABASE_URL",
    "LOCKSTITCH_EMBEDDER",
    "LOCKSTITCH_LINK_SECRETS",
    "LOCKSTITCH_LOG_FORMAT",
    "LOCKSTITCH_LOG_LEVEL",
    "LOCKSTITCH_PAYLOAD_KEYS",
    "LOCKSTITCH_PAYLOAD_STORE",
    "LOCKSTITCH_PAYLOAD_STORE_OVER_KIB",
    "LOCKSTITCH_PUBLIC_URL",
    "LOCKSTITCH_SANDBOX",
    "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS",
    "LOCKSTITCH_TASK_QUEUE",
    "LOCKSTITCH_TEMPORAL_ADDRESS",
    "LOCKSTITCH_TEMPORAL_API_KEY",
    "LOCKSTITCH_TEMPORAL_NAMESPACE",
    "LOCKSTITCH_TEMPORAL_TLS",
    "LOCKSTITCH_TEMPORAL_TLS_CA",
    "LOCKSTITCH_TEMPORAL_TLS_CERT",
    "LOCKSTITCH_TEMPORAL_TLS_KEY",
    "LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER_ARG",
}
SECRET_SETTINGS = {
    "LOCKSTITCH_ASSISTANTS_API_KEY",
    "LOCKSTITCH_DATABASE_URL",
    "LOCKSTITCH_EMBEDDINGS_API_KEY",
    "LOCKSTITCH_LINK_SECRETS",
    "LOCKSTITCH_PAYLOAD_KEYS",
    "LOCKSTITCH_TEMPORAL_API_KEY",
    "LOCKSTITCH_WEBHOOK_SECRETS",
    "LOCKSTITCH_WEBHOOK_URL",
    "OPENAI_API_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
}

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
        """The pod template of every Deployment and of the migrations."""
        return [each["spec"]["template"] for kind in ("Deployment", "Job") for each in self.of_kind(kind).values()]

    @property
    def containers(self) -> dict[str, Object]:
        """The containers of the Deployments by their names: server, worker, and one for each further group."""
        pods = [each["spec"]["template"] for each in self.of_kind("Deployment").values()]
        return {each["name"]: each for pod in pods for each in pod["spec"]["containers"]}

    def environment(self, process: str) -> dict[str, Any]:
        """What the chart itself sets for a process: a text, or where a Secret holds it."""
        container = self.containers[process]
        env = {each["name"]: each for each in container.get("env", []) if each["name"] in SETTINGS}
        config = container["envFrom"][-1]["configMapRef"]["name"]
        return {**self.of_kind("ConfigMap")[config]["data"], **env}

    def serves(self, process: str) -> set[str]:
        """What a process does: `server`, or what a worker serves."""
        environment = self.environment(process)
        return set(environment.get("LOCKSTITCH_WORKER_SERVES", "server").split(","))


@cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: Values) -> Release:
    manifests = chart().render(values, name="demo", namespace=NAMESPACE, is_install=True)
    notes = next(text for path, text in manifests.items() if path.endswith("NOTES.txt"))
    texts = [text for path, text in manifests.items() if not path.endswith("NOTES.txt")]
    objects = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return Release(values, objects, notes)


@cache
def release_of(values_file: str) -> Release:
    return render(yaml.safe_load((VALUES / f"{values_file}.yaml").read_text()))


def postgresql(**more: Any) -> Values:
    return {"database": {"type": "postgresql", "existingSecret": {"name": "database"}}, **more}
