"""A cluster that answers one question: which Deployments there are."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import helm_python
import yaml

from lockstitch.tests.deploy.rendering import NAMESPACE, Object, Values, chart

_DISCOVERY: dict[str, Object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get"]}],
    },
}
_NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@contextmanager
def cluster_with(deployments: list[Object]) -> Iterator[helm_python.Config]:
    """Helm's way to an API server that has these Deployments and nothing else."""
    folder = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    answers = _DISCOVERY | {f"{folder}/{each['metadata']['name']}": each for each in deployments}

    class ApiServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = json.dumps(answers.get(path, _NOT_FOUND)).encode()
            self.send_response(200 if path in answers else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing: the test tells what went wrong."""

    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with helm_python.Config(kubeconfig_content=_kubeconfig(server.server_port), namespace=NAMESPACE) as config:
                yield config
        finally:
            server.shutdown()
            thread.join()


def _kubeconfig(port: int) -> str:
    named = {"name": "local"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "local", "user": "local"}}],
            "current-context": "local",
        }
    )


def deployments_on(config: helm_python.Config, values: Values) -> dict[str, Object]:
    """The Deployments that an upgrade of the release would apply there, by their names."""
    texts = config.render(chart(), values, name="demo", namespace=NAMESPACE, is_upgrade=True)
    [text] = [text for path, text in texts.items() if path.endswith("templates/deployment.yaml")]
    return {each["metadata"]["name"]: each for each in yaml.safe_load_all(text) if each}
