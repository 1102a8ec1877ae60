"""How messages travel through Temporal: as JSON, without the fields that their sender left alone.

Where there are keys they are encrypted, and where there is a store the large ones stay outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter, ToJsonOptions
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, ExternalStorage

from lockstitch.errors import PayloadKeyMissing
from lockstitch.starter.payload_codec import EncryptingCodec
from lockstitch.starter.payload_keys import PayloadKeys, is_encrypted, key_id_of
from lockstitch.starter.payload_store import PayloadStore


class ContractPayloadConverter(PydanticPayloadConverter):
    """Leaves out what was not set: every field has a default, and a run's history stays a third smaller."""

    def __init__(self) -> None:
        super().__init__(ToJsonOptions(exclude_unset=True))

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Read payloads; raises `PayloadKeyMissing` where they are encrypted still, for this process has no keys."""
        try:
            return super().from_payloads(payloads, type_hints)
        except KeyError:  # an encoding that nobody here knows
            for payload in filter(is_encrypted, payloads):
                raise PayloadKeyMissing(key_id_of(payload)) from None
            raise


@dataclass(frozen=True, slots=True)
class PayloadSettings:
    """What becomes of payloads; the same for every process that shares a namespace."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    """Each ``id:base64`` of 32 bytes: the first encrypts, all decrypt; ``plain`` in the first place encrypts nothing.
    Without any, nothing is encrypted."""
    store: str = ""
    """Where large payloads go, ``file:///folder`` or ``s3://bucket/prefix``; empty: nowhere."""
    store_over: int = 128 * 1024
    """How many bytes make a payload a large one."""


data_converter = DataConverter(payload_converter_class=ContractPayloadConverter)
"""What clients and workers use where payloads are neither encrypted nor stored elsewhere."""


def data_converter_with(keys: PayloadKeys | None, store: PayloadStore | None, store_over: int) -> DataConverter:
    """Return what clients and workers use: encrypted first, then stored. Messages of errors are encrypted too."""
    if keys is None and store is None:
        return data_converter
    storage = None if store is None else ExternalStorage(drivers=[store], payload_size_threshold=store_over)
    if keys is None:
        return DataConverter(payload_converter_class=ContractPayloadConverter, external_storage=storage)
    return DataConverter(
        payload_converter_class=ContractPayloadConverter,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
        payload_codec=EncryptingCodec(keys),
        external_storage=storage,
    )
