"""What is said of settings that can be used and are unsafe, or may not be meant."""

import pytest

from lockstitch.config import Config
from lockstitch.settings_review import review

SOUND = {
    "OPENAI_API_KEY": "sk-1",
    "LOCKSTITCH_DATABASE_URL": "postgresql://lockstitch:secret@db.internal/lockstitch?sslmode=verify-full",
    "LOCKSTITCH_WEBHOOK_URL": "https://pager.example/hook",
    "LOCKSTITCH_WEBHOOK_SECRETS": "whsec_bmV3",
    "LOCKSTITCH_LINK_SECRETS": "a secret that is long enough for links",
    "LOCKSTITCH_PUBLIC_URL": "https://runs.example",
    "LOCKSTITCH_SANDBOX": "sandlock",
}

ELSEWHERE = {
    "LOCKSTITCH_TEMPORAL_ADDRESS": "temporal.internal:7233",
    "LOCKSTITCH_TEMPORAL_TLS": "true",
    "LOCKSTITCH_PAYLOAD_KEYS": "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}


def said_of(**changes: str) -> set[tuple[str, str]]:
    return {(finding.level, finding.variable) for finding in review(Config.from_environment(SOUND | changes))}


def test_nothing_is_said_of_sound_settings():
    assert said_of() == set()


@pytest.mark.parametrize(
    ("changes", "level", "variable"),
    [
        ({"LOCKSTITCH_DATABASE_URL": "postgresql://u:p@db.internal/x"}, "unsafe", "LOCKSTITCH_DATABASE_URL"),
        ({"LOCKSTITCH_METRICS_HOST": "0.0.0.0"}, "note", "LOCKSTITCH_METRICS_HOST"),
        ({"LOCKSTITCH_WEBHOOK_URL": "http://pager.example"}, "unsafe", "LOCKSTITCH_WEBHOOK_URL"),
        ({"LOCKSTITCH_WEBHOOK_URL": ""}, "note", "LOCKSTITCH_WEBHOOK_URL"),
        ({"LOCKSTITCH_WEBHOOK_SECRETS": ""}, "unsafe", "LOCKSTITCH_WEBHOOK_SECRETS"),
        ({"LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE": "true"}, "note", "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE"),
        ({"LOCKSTITCH_PUBLIC_URL": "http://runs.example"}, "unsafe", "LOCKSTITCH_PUBLIC_URL"),
        ({"LOCKSTITCH_PUBLIC_URL": ""}, "unsafe", "LOCKSTITCH_PUBLIC_URL"),
        ({"OPENAI_BASE_URL": "http://models.internal/v1"}, "unsafe", "OPENAI_BASE_URL"),
        ({"OPENAI_API_KEY": "", "LOCKSTITCH_MODEL": "openai"}, "unsafe", "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": ""}, "note", "LOCKSTITCH_MODEL"),
        ({"LOCKSTITCH_MODEL_SCRIPT": "script.json"}, "note", "LOCKSTITCH_MODEL_SCRIPT"),
        ({"LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": "1"}, "note", "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS"),
        ({"LOCKSTITCH_LOG_LEVEL": "debug"}, "note", "LOCKSTITCH_LOG_LEVEL"),
        ({"LOCKSTITCH_SANDBOX": "none"}, "note", "LOCKSTITCH_SANDBOX"),
    ],
)
def test_each_unsafe_setting_is_named_and_nothing_else(changes, level, variable):
    assert said_of(**changes) == {(level, variable)}


@pytest.mark.parametrize(
    "changes",
    [
        {"LOCKSTITCH_DATABASE_URL": "postgresql://u:p@127.0.0.1/x"},
        {"OPENAI_BASE_URL": "http://localhost:8000/v1"},
        {"LOCKSTITCH_ASSISTANTS_URL": "http://runs.internal/v1"},  # without a key there is nothing to lose
        {"LOCKSTITCH_SANDBOX": "none", "LOCKSTITCH_WORKER_SERVES": "runs,files"},
        {"LOCKSTITCH_DATABASE_URL": ""},  # a file, as long as Temporal is on this machine too
    ],
)
def test_what_stays_on_one_machine_or_is_not_used_is_not_unsafe(changes):
    assert said_of(**changes) == set()


def test_a_file_as_database_of_several_machines_is_noticed():
    assert said_of(**ELSEWHERE | {"LOCKSTITCH_DATABASE_URL": ""}) == {("note", "LOCKSTITCH_DATABASE_URL")}


def test_a_temporal_server_elsewhere_is_spoken_to_over_tls_and_told_nothing():
    assert said_of(**ELSEWHERE) == set()
    assert said_of(**ELSEWHERE | {"LOCKSTITCH_PAYLOAD_KEYS": ""}) == {("note", "LOCKSTITCH_PAYLOAD_KEYS")}
    assert said_of(**ELSEWHERE | {"LOCKSTITCH_TEMPORAL_TLS": "false"}) == {("unsafe", "LOCKSTITCH_TEMPORAL_TLS")}
    in_cloud = {"LOCKSTITCH_TEMPORAL_TLS": "", "LOCKSTITCH_TEMPORAL_API_KEY": "key"}
    assert said_of(**ELSEWHERE | in_cloud) == set()


def test_what_is_unsafe_comes_before_notes_and_no_secret_is_said():
    found = review(Config.from_environment({**SOUND, "LOCKSTITCH_PUBLIC_URL": "", "LOCKSTITCH_LOG_LEVEL": "debug"}))

    assert [finding.level for finding in found] == ["unsafe", "note"]
    assert not any(secret in finding.sentence for finding in found for secret in SOUND.values())
