"""The codec server: what Temporal's UI and command line ask of it, and what it does not answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict, Parse
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client

from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.store import keys
from lockstitch.assistants.store.keys import NewKey
from lockstitch.starter.client import connect_temporal
from lockstitch.starter.payload_folder import PayloadFolder
from lockstitch.starter.payload_keys import PayloadKeys
from lockstitch.starter.payloads import PayloadSettings, data_converter_with
from lockstitch.starter.temporal_server import TemporalServer

KEY, OTHER_KEY = "k1:" + "A" * 43 + "=", "k2:" + "B" * 43 + "="
UI = "http://127.0.0.1:8233"
SECRET = {"text": "a secret text"}
LARGE = "a large secret text " * 1000


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "payloads")


@pytest.fixture
async def http(temporal, another_server, folder) -> AsyncIterator[httpx2.AsyncClient]:
    """A server that has the keys and the store of payloads."""
    client = await reading(temporal, folder)
    async with (
        another_server(client, codec_origins=[UI]) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False) as opened,
    ):
        yield opened


async def reading(temporal: Client, folder: str) -> Client:
    """Return a client of the same server that has the keys and the store of payloads."""
    settings = PayloadSettings(keys=(KEY,), store=Path(folder).as_uri(), store_over=1024)
    return await connect_temporal(TemporalServer(temporal.service_client.config.target_host, payloads=settings))


async def written(folder: str, *values: Any, key: str = KEY) -> dict[str, Any]:
    """Return values as they are in a history, in the JSON that Temporal's own programs send."""
    converter = data_converter_with(PayloadKeys.parse([key]), PayloadFolder(folder), 1024)
    return MessageToDict(Payloads(payloads=await converter.encode(values)))


def read(answer: httpx2.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [json.loads(payload.data) for payload in Parse(answer.text, Payloads()).payloads]


def sentence(answer: httpx2.Response) -> str:
    assert answer.status_code == 400
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize("path", ["/codec/decode", "/v1/codec/decode"])
async def test_payloads_are_decoded(http, folder, path):
    body = await written(folder, SECRET, LARGE, None)
    answer = await http.post(path, json=body, headers={"x-namespace": "default"})

    decoded = Parse(answer.text, Payloads()).payloads
    assert [json.loads(payload.data) for payload in decoded[:2]] == [SECRET, LARGE]
    assert dict(decoded[2].metadata) == {"encoding": b"binary/null"}
    assert "secret" not in json.dumps(body)
    assert answer.headers["cache-control"] == "no-store"


async def test_payloads_that_were_never_encrypted_come_back_as_they_are(http):
    body = MessageToDict(Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"as it is"')]))

    assert (await http.post("/codec/decode", json=body)).json() == body


async def test_what_is_stored_elsewhere_stays_a_reference_until_it_is_asked_for(http, folder):
    """The UI shows how large it is, and downloads it when somebody wants to see it."""
    body = await written(folder, LARGE)
    kept = await http.post("/codec/decode?preserveStorageRefs=true", json=body)

    assert kept.json() == body
    assert kept.json()["payloads"][0]["externalPayloads"][0]["sizeBytes"]
    assert read(await http.post("/codec/download", json=body)) == [LARGE]
    refused = await http.post("/codec/download", json=await written(folder, LARGE, SECRET))
    assert sentence(refused) == "Invalid value for 'payloads': each has to be a reference to a stored payload."


async def test_payloads_that_cannot_be_read_are_told(http, folder):
    unknown_key = await http.post("/codec/decode", json=await written(folder, SECRET, key=OTHER_KEY))
    body = await written(folder, LARGE)
    await PayloadFolder(folder).delete_of("", "none")
    reference = json.dumps({"driverName": "another", "claimData": {"key": "secret"}}).encode()
    metadata = {"encoding": b"json/protobuf", "messageType": b"temporal.api.sdk.v1.ExternalStorageReference"}
    elsewhere = MessageToDict(Payloads(payloads=[Payload(metadata=metadata, data=reference)]))

    assert "encrypted with the key 'k2', and LOCKSTITCH_PAYLOAD_KEYS has only k1" in sentence(unknown_key)
    assert "does not have it." in sentence(await http.post("/codec/download", json=body))
    assert "it is in 'another', which LOCKSTITCH_PAYLOAD_STORE does not name" in sentence(
        await http.post("/codec/download", json=elsewhere)
    )


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", b'{"payloads": 1}', b'{"payloads": [{"data": "a"}]}', b"\xff", b"[" * 100_000]
)
async def test_what_is_no_list_of_payloads_is_refused(http, body):
    answer = await http.post("/codec/decode", content=body, headers={"content-type": "application/json"})

    assert sentence(answer) == "Invalid value for 'payloads': it is no list of payloads as Temporal writes them."


async def test_references_that_cannot_be_read_are_refused(http):
    metadata = {"encoding": b"json/protobuf", "messageType": b"temporal.api.sdk.v1.ExternalStorageReference"}
    body = MessageToDict(Payloads(payloads=[Payload(metadata=metadata, data=b"{")]))

    assert "the reference cannot be read" in sentence(await http.post("/codec/download", json=body))


async def test_nothing_is_encoded(http, folder):
    assert (await http.post("/codec/encode", json=await written(folder, SECRET))).status_code == 404


async def test_pages_of_the_ui_may_ask_and_no_others(http, folder):
    body = await written(folder, SECRET)
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-namespace"}
    allowed = await http.options("/codec/decode", headers={"origin": UI, **asking})
    foreign = await http.options("/codec/decode", headers={"origin": "https://evil.example", **asking})
    answered = await http.post("/codec/decode", json=body, headers={"origin": UI})
    answered_foreign = await http.post("/codec/decode", json=body, headers={"origin": "https://evil.example"})

    for answer in (allowed, answered):
        assert answer.headers["access-control-allow-origin"] == UI
        assert answer.headers["access-control-allow-credentials"] == "true"
    assert allowed.status_code == foreign.status_code == 204
    assert allowed.headers["access-control-allow-methods"] == "POST"
    assert allowed.headers["access-control-allow-headers"] == "content-type,x-namespace"
    for answer in (foreign, answered_foreign):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_key_is_asked_for_where_keys_are(temporal, another_server, folder):
    """As on every address that others reach."""
    always = another_server(keyring=lambda database: Keyring(database, always_asks=True), codec_origins=[UI])
    async with always as server, httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
        for path in ("/codec/decode", "/codec/download"):
            assert (await http.post(path, json=await written(folder, SECRET))).status_code == 401
            preflight = {"origin": UI, "access-control-request-method": "POST"}
            assert (await http.options(path, headers=preflight)).status_code == 204


@pytest.mark.parametrize(("operator", "status"), [(True, 200), (False, 403)])
async def test_only_an_operators_key_reads_what_may_be_of_any_project(
    operator, status, temporal, another_server, folder
):
    client = await reading(temporal, folder)
    asking = another_server(client, keyring=lambda database: Keyring(database, always_asks=True))
    async with asking as server, httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
        _, key = await server.database.write(lambda connection: keys.create(connection, new_key(operator), 0))
        headers = {"authorization": f"Bearer {key}"}
        answer = await http.post("/codec/decode", json=await written(folder, SECRET), headers=headers)

    assert answer.status_code == status
    if operator:
        assert read(answer) == [SECRET]
    else:
        assert answer.json()["error"]["code"] == "operator_key_needed"


def new_key(operator: bool) -> NewKey:
    return NewKey("default", operator=operator)
