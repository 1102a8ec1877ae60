"""What the operators accept that are not part of Kubernetes: the schemas of their resources, made strict."""

from functools import cache
from importlib import import_module
from typing import Any

import jsonschema

KINDS = {
    "PrometheusRule": ("monitoring.coreos.com/v1", "cloudcoil.models.prometheus_operator.v1"),
    "ScaledObject": ("keda.sh/v1alpha1", "cloudcoil.models.keda.v1alpha1"),
    "ServiceMonitor": ("monitoring.coreos.com/v1", "cloudcoil.models.prometheus_operator.v1"),
    "TriggerAuthentication": ("keda.sh/v1alpha1", "cloudcoil.models.keda.v1alpha1"),
}
"""Of each kind, the version and the module that has its model, which takes seconds to load."""


def closed(schema: Any) -> Any:
    """The schema with every object closed to properties that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(value) for key, value in schema.items()}
    if str(strict.get("pattern", "")).startswith("^(?i)"):
        del strict["pattern"]  # Go's way of saying that case does not matter, which Python does not know
    if "properties" in strict and isinstance(schema["properties"], dict):
        strict.setdefault("additionalProperties", False)
    return strict


@cache
def validator_of(kind: str) -> jsonschema.Draft202012Validator:
    """What checks one kind of resource strictly."""
    model = getattr(import_module(KINDS[kind][1]), kind)
    return jsonschema.Draft202012Validator(closed(model.model_json_schema()))


def validate(resource: dict[str, Any]) -> None:
    """Raise `jsonschema.ValidationError` where an operator would refuse the resource, or ignore a part of it."""
    assert resource["apiVersion"] == KINDS[resource["kind"]][0]
    validator_of(resource["kind"]).validate(resource)
