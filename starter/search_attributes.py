"""The search attributes by which runs are found: whether a namespace has them, and how it gets them."""

from collections.abc import Mapping

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import SearchAttributesMissing, SettingsInvalid
from lockstitch.starter import contract

Types = Mapping[str, IndexedValueType.ValueType]

WANTED: Types = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in contract.SEARCH_ATTRIBUTES}
"""Every search attribute of runs."""

_NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED)


async def ensure_search_attributes(client: Client) -> None:
    """Register the search attributes of runs that the namespace lacks.

    Raises `SettingsInvalid` where there is no such namespace, and `SearchAttributesMissing` where this process cannot
    register them.
    """
    missing = await missing_search_attributes(client)
    if not missing:
        return
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # another process was faster
            raise _missing(client, missing, error.message) from error


async def missing_search_attributes(client: Client) -> Types:
    """Return the search attributes of runs that the namespace lacks.

    Raises `SettingsInvalid` where there is no such namespace, and `SearchAttributesMissing` where it has one of another
    type by the same name.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            problem = f"the Temporal server has no namespace {client.namespace!r}."
            raise SettingsInvalid("LOCKSTITCH_TEMPORAL_NAMESPACE", problem) from error
        if error.status not in _NOT_ALLOWED:
            raise
        return await missing_in_queries(client)
    mistyped = {name: kind for name, kind in WANTED.items() if known.get(name, kind) != kind}
    if mistyped:
        raise _missing(client, mistyped, "it has others of these names, of another type: remove them first")
    return {name: kind for name, kind in WANTED.items() if name not in known}


async def missing_in_queries(client: Client) -> Types:
    """Return the same by asking for runs, for whoever may not see the list of search attributes."""
    missing = {}
    for name, kind in WANTED.items():
        try:
            await client.count_workflows(f"{name} IS NOT NULL")
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            missing[name] = kind
    return missing


def _missing(client: Client, missing: Types, reason: str) -> SearchAttributesMissing:
    return SearchAttributesMissing(client.namespace, {name: _word(kind) for name, kind in missing.items()}, reason)


def _word(kind: IndexedValueType.ValueType) -> str:
    """Return a type as Temporal's commands name it, such as ``Keyword``."""
    words = IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)
