"""Reads payloads as they came from the Temporal server, for whoever looks at them there."""

from collections.abc import Sequence

from google.protobuf.json_format import Parse, ParseError
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import DataConverter, StorageDriver, StorageDriverClaim, StorageDriverRetrieveContext

from lockstitch.errors import StoredPayloadLost

_REFERENCE_TYPE = ExternalStorageReference.DESCRIPTOR.full_name.encode()


class PayloadReader:
    """Undoes what a data converter does to payloads on their way out: fetches what is stored elsewhere, decrypts."""

    def __init__(self, data_converter: DataConverter) -> None:
        self._codec = data_converter.payload_codec
        storage = data_converter.external_storage
        self._stores: dict[str, StorageDriver] = {store.name(): store for store in storage.drivers} if storage else {}

    def __repr__(self) -> str:
        return f"PayloadReader({self._codec!r}, {list(self._stores)})"

    async def read(self, payloads: Sequence[Payload], *, fetches: bool = True) -> list[Payload]:
        """Return payloads as they were written; those that are stored elsewhere stay references without ``fetches``.

        Raises `PayloadError`.
        """
        return [await self._read(payload, fetches) for payload in payloads]

    async def _read(self, payload: Payload, fetches: bool) -> Payload:
        if is_reference(payload):
            if not fetches:
                return payload
            payload = await self._fetched(payload)
        if self._codec is None:
            return payload
        [decoded] = await self._codec.decode([payload])
        return decoded

    async def _fetched(self, payload: Payload) -> Payload:
        try:
            reference = Parse(payload.data, ExternalStorageReference())
        except (ParseError, UnicodeDecodeError) as error:
            raise StoredPayloadLost("", "the reference cannot be read.") from error
        claim = StorageDriverClaim(claim_data=dict(reference.claim_data))
        store = self._stores.get(reference.driver_name)
        if store is None:
            raise StoredPayloadLost(
                claim.claim_data.get("key", "")[:200],
                f"it is in {reference.driver_name!r}, which LOCKSTITCH_PAYLOAD_STORE does not name.",
            )
        [stored] = await store.retrieve(StorageDriverRetrieveContext(), [claim])
        return stored


def is_reference(payload: Payload) -> bool:
    """Tell whether a payload says only where the real one is, as the SDK writes it."""
    return payload.metadata.get("encoding") == b"json/protobuf" and payload.metadata.get("messageType") == (
        _REFERENCE_TYPE
    )
