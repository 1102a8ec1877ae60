"""Keys of payloads: how they are read, and what they open."""

import base64
import subprocess
import sys

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from lockstitch.errors import PayloadKeyMissing, PayloadUnreadable, SettingsInvalid
from lockstitch.starter.payload_keys import KEY_ID, PayloadKeys, is_encrypted, key_id_of
from lockstitch.starter.payloads import data_converter, data_converter_with


def entry(key_id: str, byte: int = 7, length: int = 32) -> str:
    return f"{key_id}:{base64.b64encode(bytes([byte]) * length).decode()}"


def keys(*entries: str) -> PayloadKeys:
    parsed = PayloadKeys.parse(entries)
    assert parsed is not None
    return parsed


SECRET = Payload(metadata={"encoding": b"json/plain", "messageType": b"secret.Type"}, data=b'"a secret text"')


def test_a_payload_and_its_metadata_are_hidden_and_come_back():
    own = keys(entry("k1"))
    sealed = own.encrypted(SECRET)

    assert is_encrypted(sealed)
    assert key_id_of(sealed) == "k1"
    assert b"secret" not in sealed.SerializeToString()
    assert own.decrypted(sealed) == SECRET


def test_the_same_payload_never_looks_the_same():
    own = keys(entry("k1"))

    assert len({own.encrypted(SECRET).data for _ in range(100)}) == 100


def test_the_first_key_encrypts_and_all_decrypt():
    old, rotated = keys(entry("k1", 1)), keys(entry("k2", 2), entry("k1", 1))

    assert rotated.decrypted(old.encrypted(SECRET)) == SECRET
    assert key_id_of(rotated.encrypted(SECRET)) == "k2"


def test_what_was_never_encrypted_stays_readable():
    assert keys(entry("k1")).decrypted(SECRET) == SECRET


def test_plain_in_the_first_place_reads_and_encrypts_nothing():
    reading = keys("plain", entry("k1"))

    assert reading.encrypted(SECRET) == SECRET
    assert reading.decrypted(keys(entry("k1")).encrypted(SECRET)) == SECRET


def test_a_key_that_is_missing_is_named():
    sealed = keys(entry("k1")).encrypted(SECRET)

    with pytest.raises(PayloadKeyMissing, match="key 'k1', and LOCKSTITCH_PAYLOAD_KEYS has only k2, k3"):
        keys(entry("k3"), entry("k2")).decrypted(sealed)


def test_another_key_with_the_same_id_opens_nothing():
    with pytest.raises(PayloadUnreadable, match="'k1' of LOCKSTITCH_PAYLOAD_KEYS does not open"):
        keys(entry("k1", 2)).decrypted(keys(entry("k1", 1)).encrypted(SECRET))


def test_a_payload_passes_for_one_of_no_other_key():
    """Even of one with the same bytes: the id is authenticated too."""
    sealed = keys(entry("k1")).encrypted(SECRET)
    sealed.metadata[KEY_ID] = b"k2"

    with pytest.raises(PayloadUnreadable):
        keys(entry("k2")).decrypted(sealed)


def test_a_payload_of_which_anything_was_changed_opens_no_more():
    own = keys(entry("k1"))
    sealed = own.encrypted(SECRET)
    cut_short = [sealed.data[:length] for length in (0, 11, 27, len(sealed.data) - 1)]
    flipped = [
        bytes([*sealed.data[:at], sealed.data[at] ^ 1, *sealed.data[at + 1 :]]) for at in range(len(sealed.data))
    ]

    for data in cut_short + flipped:
        with pytest.raises(PayloadUnreadable):
            own.decrypted(Payload(metadata=sealed.metadata, data=data))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (["AAAA"], "key 1 is not of the form id:base64."),
        ([entry("k1"), "secret"], "key 2 is not of the form id:base64."),
        (
            [entry("a b")],
            "key 1 has the id 'a b'; letters, digits, dots, dashes and underscores, 64 at most, are an id.",
        ),
        ([":AAAA"], "key 1 has the id ''; letters, digits, dots, dashes and underscores, 64 at most, are an id."),
        (["k1:not base64!"], "the key 'k1' is not base64."),
        ([entry("k1", length=16)], "the key 'k1' has 16 bytes and not 32; `openssl rand -base64 32` makes one."),
        ([entry("k1", 1), entry("k1", 2)], "two keys have the id 'k1'."),
        ([entry("k1"), "plain"], "key 2 is not of the form id:base64."),
        ([entry("plain")], "'plain' is no id of a key; it stands alone, in the first place."),
    ],
)
def test_keys_that_cannot_be_used_are_told_without_their_secret(entries, problem):
    with pytest.raises(SettingsInvalid) as refused:
        PayloadKeys.parse(entries)

    assert str(refused.value) == f"LOCKSTITCH_PAYLOAD_KEYS: {problem}"


def test_no_keys_are_no_keys():
    assert PayloadKeys.parse([]) is None
    assert PayloadKeys.parse(["plain"]) is None


def test_keys_are_not_shown():
    secret = entry("k1")

    assert secret.partition(":")[2] not in repr(keys(secret))


async def test_the_messages_of_errors_are_hidden_and_come_back():
    converter = data_converter_with(keys(entry("k1")), None, 0)
    failure = Failure()
    try:
        raise ApplicationError("a secret sentence", {"secret": "detail"}, type="Refused")
    except ApplicationError as error:
        await converter.encode_failure(error, failure)

    assert b"secret" not in failure.SerializeToString()
    assert b"test_payload_keys" not in failure.SerializeToString()  # nor is the stack trace readable
    decoded = await converter.decode_failure(failure)
    assert isinstance(decoded, ApplicationError)
    assert (decoded.message, decoded.type, decoded.details) == ("a secret sentence", "Refused", ({"secret": "detail"},))


async def test_errors_of_before_there_were_keys_stay_readable():
    failure = Failure()
    await data_converter.encode_failure(ApplicationError("a sentence"), failure)

    decoded = await data_converter_with(keys(entry("k1")), None, 0).decode_failure(failure)
    assert str(decoded) == "a sentence"


def test_whoever_has_no_keys_loads_no_cryptography():
    imported = (
        "import sys, lockstitch.starter.client; sys.exit('cryptography' in sys.modules or 'boto3' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-P", "-c", imported], timeout=60, check=False).returncode == 0
