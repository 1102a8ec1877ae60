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
VALUES_FILES = sorted(path.stem for path in VALUES.glob("*.yaml"))

SERVER_SETTINGS = {"LOCKSTITCH_HOST", "LOCKSTITCH_PORT"}
WORKER_SETTINGS = {
    "LOCKSTITCH_ADOPT_THREADS",
    "LOCKSTITCH_ASSISTANTS_API_KEY",
    "LOCKSTITCH_ASSISTANTS_API_VERSION",
    "LOCKSTITCH_ASSISTANTS_URL",
    "LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES",
    "LOCKSTITCH_METRICS_HOST",
    "LOCKSTITCH_METRICS_PORT",
    "LOCKSTITCH_MODEL",
    "LOCKSTITCH_MODEL_API",
    "LOCKSTITCH_PUBLIC_URL",
    "LOCKSTITCH_TOOLS",
    "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE",
    "LOCKSTITCH_WEBHOOK_SECRETS",
    "LOCKSTITCH_WEBHOOK_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
}
# Every environment variable that the processes read; the chart sets these and no others.
SETTINGS = {
    *SERVER_SETTINGS,
    *WORKER_SETTINGS,
    "LOCKSTITCH_DATABASE_AUTO_UPGRADE",
    "LOCKSTITCH_DATABASE_CONNECTIONS",
    "LOCKSTITCH_DATABASE_URL",
    "LOCKSTITCH_LINK_SECRETS",
    "LOCKSTITCH_LOG_FORMAT",
    "LOCKSTITCH_LOG_LEVEL",
    "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS",
    "LOCKSTITCH_TASK_QUEUE",
    "LOCKSTITCH_TEMPORAL_ADDRESS",
    "LOCKSTITCH_TEMPORAL_NAMESPACE",
}
SECRET_SETTINGS = {
    "LOCKSTITCH_ASSISTANTS_API_KEY",
    "LOCKSTITCH_DATABASE_URL",
    "LOCKSTITCH_LINK_SECRETS",
    "LOCKSTITCH_WEBHOOK_SECRETS",
    "LOCKSTITCH_WEBHOOK_URL",
    "OPENAI_API_KEY",
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


def postgresql(**more: Any) -> Values:
    return {"database": {"type": "postgresql", "existingSecret": {"name": "database"}}, **more}
