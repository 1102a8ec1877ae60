"""TLS, client certificates and API keys: in front of a real Temporal server, and where something is wrong."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from lockstitch.errors import LockstitchError, SettingsInvalid, TemporalRefused
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import ThreadRunRequest
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tests.starter.tls_servers import SERVER_NAME, Authority, refusing, tls_in_front_of


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def address(temporal) -> str:
    """Where the Temporal server of the tests listens, without TLS."""
    return str(temporal.service_client.config.target_host)


def trusting(authority: Authority, address: str, **options: object) -> TemporalServer:
    return replace(TemporalServer(address, tls=True, tls_ca=authority.file, tls_server_name=SERVER_NAME), **options)


async def starts_a_run(server: TemporalServer) -> bool:
    async with await Starter.connect(server, task_queue=f"test-{uuid4()}") as starter:
        run_id = await starter.start(ThreadRunRequest(assistant_id="asst_1", thread_id="thread_1"))
        return (await starter.snapshot(run_id)).status == "queued"


async def refusal(server: TemporalServer) -> str:
    with pytest.raises(LockstitchError) as refused:
        await Starter.connect(server)
    assert isinstance(refused.value, TemporalRefused | SettingsInvalid), refused.value
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_runs_are_started_over_tls(authority, address):
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME)) as secured:
        assert await starts_a_run(trusting(authority, secured))


async def test_runs_are_started_over_tls_with_a_client_certificate(authority, address):
    own = authority.certificate("worker")
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME), clients_of=authority) as secured:
        assert await starts_a_run(trusting(authority, secured, tls=False, tls_cert=own.cert, tls_key=own.key))


async def test_runs_are_started_over_tls_with_an_api_key(authority, address):
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME)) as secured:
        assert await starts_a_run(trusting(authority, secured, tls=False, api_key="key-of-the-cloud"))


async def test_an_api_key_is_never_sent_in_the_clear(address):
    said = await refusal(TemporalServer(address, api_key="key-of-the-cloud"))

    assert "it does not speak TLS" in said
    assert "key-of-the-cloud" not in said + repr(TemporalServer(address, api_key="key-of-the-cloud"))


@pytest.mark.parametrize(("grpc_status", "reason"), [(16, "unauthenticated"), (7, "permission denied")])
async def test_a_refused_api_key_is_named(authority, grpc_status, reason):
    async with refusing(authority.certificate(SERVER_NAME), grpc_status) as secured:
        assert "refuses the key of LOCKSTITCH_TEMPORAL_API_KEY" in await refusal(
            trusting(authority, secured, api_key="old")
        ), reason
        assert "set LOCKSTITCH_TEMPORAL_API_KEY, or a client" in await refusal(trusting(authority, secured)), reason


async def test_what_does_not_fit_the_server_is_told_in_one_sentence(authority, address, tmp_path):
    other = Authority(tmp_path, "other")
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME)) as secured:
        server = trusting(authority, secured)
        assert "set LOCKSTITCH_TEMPORAL_TLS to true" in await refusal(TemporalServer(secured))
        assert "set LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME" in await refusal(replace(server, tls_server_name=""))
        assert "LOCKSTITCH_TEMPORAL_TLS_CA" in await refusal(replace(server, tls_ca=other.file))
        assert "LOCKSTITCH_TEMPORAL_TLS_CA" in await refusal(replace(server, tls_ca=""))
        assert "does not speak TLS" in await refusal(trusting(authority, address))
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME, days=-1)) as secured:
        assert "its certificate has expired" in await refusal(trusting(authority, secured))


async def test_a_client_certificate_that_is_wanted_or_refused_is_named(authority, address, tmp_path):
    strange = Authority(tmp_path, "other").certificate("worker")
    async with tls_in_front_of(address, authority.certificate(SERVER_NAME), clients_of=authority) as secured:
        server = trusting(authority, secured)
        assert "set LOCKSTITCH_TEMPORAL_TLS_CERT and LOCKSTITCH_TEMPORAL_TLS_KEY" in await refusal(server)
        assert strange.cert in await refusal(replace(server, tls_cert=strange.cert, tls_key=strange.key))


async def test_files_that_cannot_be_used_are_named(authority, address, tmp_path):
    own, second = authority.certificate("one"), authority.certificate("two")
    locked = authority.certificate("locked", password=b"secret")
    text = tmp_path / "notes.txt"
    Path(text).write_text("no certificate")
    wrong = [
        ({"tls_ca": "/nowhere/ca.pem"}, "TLS_CA: /nowhere/ca.pem cannot be read: No such file or directory"),
        ({"tls_ca": str(text)}, f"TLS_CA: {text} has no certificate in PEM"),
        ({"tls_cert": own.cert}, "TLS_CERT: a client certificate and its key belong together; set LOCKSTITCH_TEMPOR"),
        ({"tls_key": own.key}, "TLS_KEY: a client certificate and its key belong together; set LOCKSTITCH_TEMPORAL"),
        ({"tls_cert": own.cert, "tls_key": second.key}, "do not belong together"),
        ({"tls_cert": own.cert, "tls_key": str(text)}, "are no certificate and private key in PEM"),
        ({"tls_cert": str(text), "tls_key": own.key}, "are no certificate and private key in PEM"),
        ({"tls_cert": locked.cert, "tls_key": locked.key}, "without a password"),
        ({"tls": False}, "TLS_CA: it means nothing without TLS"),
    ]
    for options, sentence in wrong:
        assert sentence in await refusal(trusting(authority, address, **options))
