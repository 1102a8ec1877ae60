"""What the API server of a version of Kubernetes accepts: the schemas of `kubernetes_validate`, each loaded once.

Its own `validate` reads the schema of all definitions, a megabyte, again for every object.
"""

import re
from functools import cache
from typing import Any

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource


def newest_release(version: str) -> str:
    """The newest release of a minor version, such as 1.30, that there are schemas of."""
    return [each for each in utils.all_versions() if utils.major_minor(each) == version][-1]


@cache
def _schema(version: str, name: str) -> Any:
    return utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name}.json", version)


@cache
def _validator(version: str, kind: str, api_version: str) -> jsonschema.Draft202012Validator:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)  # rbac.authorization.k8s.io/v1: rbac-v1
    schema = _schema(version, f"{kind.lower()}-{group}")
    known: Registry[Any] = Registry()
    for each in (schema, _schema(version, "_definitions")):
        known = Resource.from_contents(each) @ known
    return jsonschema.Draft202012Validator(schema, registry=known)


def validate(resource: dict[str, Any], version: str) -> None:
    """Raise `jsonschema.ValidationError` where that version would refuse the resource, or ignore a part of it."""
    _validator(version, resource["kind"], resource["apiVersion"]).validate(resource)
