"""The settings: every variable, and what is said of values that cannot be used."""

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta

import pytest

from lockstitch.config import Config
from lockstitch.errors import SettingsInvalid

SET = {
    "LOCKSTITCH_TEMPORAL_ADDRESS": ("temporal:7233", "temporal_address", "temporal:7233"),
    "LOCKSTITCH_TEMPORAL_NAMESPACE": ("prod", "temporal_namespace", "prod"),
    "LOCKSTITCH_TEMPORAL_TLS": ("true", "temporal_tls", True),
    "LOCKSTITCH_TEMPORAL_TLS_CA": ("/tls/ca.pem", "temporal_tls_ca", "/tls/ca.pem"),
    "LOCKSTITCH_TEMPORAL_TLS_CERT": ("/tls/worker.pem", "temporal_tls_cert", "/tls/worker.pem"),
    "LOCKSTITCH_TEMPORAL_TLS_KEY": ("/tls/worker.key", "temporal_tls_key", "/tls/worker.key"),
    "LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME": ("temporal.example", "temporal_tls_server_name", "temporal.example"),
    "LOCKSTITCH_TEMPORAL_API_KEY": ("key-5\n", "temporal_api_key", "key-5"),
    "LOCKSTITCH_PAYLOAD_KEYS": ("k2:bmV3, k1:b2xk\n", "payload_keys", ("k2:bmV3", "k1:b2xk")),
    "LOCKSTITCH_PAYLOAD_STORE": ("s3://bucket/prefix", "payload_store", "s3://bucket/prefix"),
    "LOCKSTITCH_PAYLOAD_STORE_OVER_KIB": ("64", "payload_store_over_kib", 64),
    "LOCKSTITCH_CODEC_ORIGINS": ("https://temporal.example", "codec_origins", ("https://temporal.example",)),
    "LOCKSTITCH_TASK_QUEUE": ("runs", "task_queue", "runs"),
    "LOCKSTITCH_DATABASE_URL": ("sqlite:////data/a.db", "database_url", "sqlite:////data/a.db"),
    "LOCKSTITCH_DATABASE_CONNECTIONS": ("3", "database_connections", 3),
    "LOCKSTITCH_DATABASE_AUTO_UPGRADE": ("false", "database_auto_upgrade", False),
    "LOCKSTITCH_HOST": ("0.0.0.0", "host", "0.0.0.0"),
    "LOCKSTITCH_PORT": ("80", "port", 80),
    "LOCKSTITCH_SERVER_URL": ("http://lockstitch", "server_url", "http://lockstitch"),
    "LOCKSTITCH_SERVER_API_KEY": ("sk-3\n", "server_api_key", "sk-3"),
    "LOCKSTITCH_REQUEST_TIMEOUT_SECONDS": ("5", "request_timeout", timedelta(seconds=5)),
    "LOCKSTITCH_MAX_STREAMS": ("7", "max_streams", 7),
    "LOCKSTITCH_MAX_STREAMS_PER_KEY": ("3", "max_streams_per_key", 3),
    "LOCKSTITCH_METRICS_HOST": ("::1", "metrics_host", "::1"),
    "LOCKSTITCH_METRICS_PORT": ("0", "metrics_port", 0),
    "LOCKSTITCH_TOOLS": (" shop.tools , bank:refund,, ", "tools", ("shop.tools", "bank:refund")),
    "LOCKSTITCH_MODEL": ("openai", "model", "openai"),
    "LOCKSTITCH_MODEL_API": ("chat", "model_api", "chat"),
    "LOCKSTITCH_MODEL_TIMEOUT_SECONDS": ("7", "model_timeout", timedelta(seconds=7)),
    "LOCKSTITCH_MODEL_CONTEXT_TOKENS": ("8192", "model_context_tokens", 8192),
    "LOCKSTITCH_MODEL_SCRIPT": ("script.json", "model_script", "script.json"),
    "OPENAI_API_KEY": ("sk-1\n", "openai_api_key", "sk-1"),
    "OPENAI_BASE_URL": ("http://models/v1", "openai_base_url", "http://models/v1"),
    "LOCKSTITCH_WORKER_SERVES": ("files, code", "worker_serves", ("files", "code")),
    "LOCKSTITCH_SANDBOX": ("sandlock", "sandbox", "sandlock"),
    "LOCKSTITCH_EMBEDDER": ("static", "embedder", "static"),
    "LOCKSTITCH_EMBEDDINGS_URL": ("http://vectors/v1", "embeddings_url", "http://vectors/v1"),
    "LOCKSTITCH_EMBEDDINGS_API_KEY": ("sk-4\n", "embeddings_api_key", "sk-4"),
    "LOCKSTITCH_EMBEDDINGS_MODEL": ("bge-m3", "embeddings_model", "bge-m3"),
    "LOCKSTITCH_EMBEDDINGS_DIMENSIONS": ("256", "embeddings_dimensions", 256),
    "LOCKSTITCH_EMBEDDINGS_TIMEOUT_SECONDS": ("9", "embeddings_timeout", timedelta(seconds=9)),
    "LOCKSTITCH_SANDBOX_PYTHON": ("/opt/python/bin/python3", "sandbox_python", "/opt/python/bin/python3"),
    "LOCKSTITCH_SANDBOX_WARM_KERNELS": ("0", "sandbox_warm_kernels", 0),
    "LOCKSTITCH_SANDBOX_MEMORY_MIB": ("2048", "sandbox_memory_mib", 2048),
    "LOCKSTITCH_SANDBOX_PROCESSES": ("8", "sandbox_processes", 8),
    "LOCKSTITCH_SANDBOX_WALL_SECONDS": ("60", "sandbox_wall", timedelta(seconds=60)),
    "LOCKSTITCH_SANDBOX_CPU_SECONDS": ("30", "sandbox_cpu", timedelta(seconds=30)),
    "LOCKSTITCH_SANDBOX_DISK_MIB": ("64", "sandbox_disk_mib", 64),
    "LOCKSTITCH_SANDBOX_OUTPUT_KIB": ("32", "sandbox_output_kib", 32),
    "LOCKSTITCH_SANDBOX_FILES": ("10", "sandbox_files", 10),
    "LOCKSTITCH_ASSISTANTS_URL": ("http://runs/v1", "assistants_url", "http://runs/v1"),
    "LOCKSTITCH_ASSISTANTS_API_KEY": ("sk-2\n", "assistants_api_key", "sk-2"),
    "LOCKSTITCH_ASSISTANTS_API_VERSION": ("2024-05-01-preview", "assistants_api_version", "2024-05-01-preview"),
    "LOCKSTITCH_ADOPT_THREADS": ("thread_1, thread_2", "adopt_threads", ("thread_1", "thread_2")),
    "LOCKSTITCH_WEBHOOK_URL": ("https://hooks.example/T0/x", "webhook_url", "https://hooks.example/T0/x"),
    "LOCKSTITCH_WEBHOOK_SECRETS": ("whsec_bmV3, whsec_b2xk\n", "webhook_secrets", ("whsec_bmV3", "whsec_b2xk")),
    "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE": ("true", "webhook_allow_private", True),
    "LOCKSTITCH_LINK_SECRETS": ("new,old", "link_secrets", ("new", "old")),
    "LOCKSTITCH_PUBLIC_URL": ("https://lockstitch.example", "public_url", "https://lockstitch.example"),
    "LOCKSTITCH_DELIVERIES_KEPT_DAYS": ("7", "deliveries_kept_days", 7),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://collector:4318", "otel_endpoint", "http://collector:4318"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("api-key=1, tenant=a", "otel_headers", ("api-key=1", "tenant=a")),
    "OTEL_SERVICE_NAME": ("assistants", "otel_service_name", "assistants"),
    "OTEL_TRACES_SAMPLER_ARG": ("0.25", "otel_sampler_arg", 0.25),
    "LOCKSTITCH_LOG_FORMAT": ("json", "log_format", "json"),
    "LOCKSTITCH_LOG_LEVEL": ("debug", "log_level", "debug"),
    "LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES": ("5", "max_concurrent_activities", 5),
    "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": ("0", "shutdown_grace", timedelta(0)),
}


def read(**environment: str) -> Config:
    return Config.from_environment(environment)


def test_every_setting_has_its_variable_and_is_read_from_it():
    config = read(**{variable: text for variable, (text, _, _) in SET.items()})

    assert {setting.metadata["variable"] for setting in fields(Config)} == set(SET)
    for variable, (_, name, value) in SET.items():
        assert getattr(config, name) == value, variable


def test_without_variables_every_setting_has_its_default():
    assert read() == read(**dict.fromkeys(SET, "")) == read(**dict.fromkeys(SET, " \n")) == Config()


def test_variables_of_others_are_left_alone():
    assert read(LOCKSTITCH_OF_THE_FUTURE="1", PATH="/bin") == Config()


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("LOCKSTITCH_PORT", "http", "'http' is no whole number."),
        ("LOCKSTITCH_PORT", "80.5", "'80.5' is no whole number."),
        ("LOCKSTITCH_PORT", "-1", "'-1' is not between 0 and 65535."),
        ("LOCKSTITCH_PORT", "65536", "'65536' is not between 0 and 65535."),
        ("LOCKSTITCH_METRICS_PORT", "99999", "'99999' is not between 0 and 65535."),
        ("LOCKSTITCH_MODEL", "gpt-4o", "'gpt-4o' is not one of auto, openai, offline, local."),
        ("LOCKSTITCH_MODEL_API", "assistants", "'assistants' is not one of auto, responses, chat."),
        ("LOCKSTITCH_MODEL_TIMEOUT_SECONDS", "0", "'0' is not between 1 and 1000000."),
        ("LOCKSTITCH_MODEL_TIMEOUT_SECONDS", "2m", "'2m' is no whole number."),
        ("LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE", "yes", "'yes' is not one of false, true."),
        ("LOCKSTITCH_DELIVERIES_KEPT_DAYS", "0", "'0' is not between 1 and 36500."),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "'1.5' is no number between 0 and 1."),
        ("OTEL_TRACES_SAMPLER_ARG", "half", "'half' is no number between 0 and 1."),
        ("OTEL_TRACES_SAMPLER_ARG", "nan", "'nan' is no number between 0 and 1."),
        ("LOCKSTITCH_LOG_FORMAT", "xml", "'xml' is not one of console, json."),
        ("LOCKSTITCH_LOG_LEVEL", "loud", "'loud' is not one of debug, info, warning, error, critical."),
        ("LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES", "0", "'0' is not between 1 and 1000000."),
        ("LOCKSTITCH_SHUTDOWN_GRACE_SECONDS", "99999999999999", "is not between 0 and 1000000."),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_variable(variable, text, problem):
    with pytest.raises(SettingsInvalid) as refused:
        read(**{variable: text})

    assert str(refused.value).startswith(f"{variable}: ")
    assert str(refused.value).endswith(problem)
    assert refused.value.variable == variable


def test_settings_stay_as_they_are():
    with pytest.raises(FrozenInstanceError):
        read().port = 1  # type: ignore[misc]  # which is what is tested


@pytest.mark.parametrize(
    "variable",
    [
        "OPENAI_API_KEY",
        "LOCKSTITCH_ASSISTANTS_API_KEY",
        "LOCKSTITCH_WEBHOOK_URL",
        "LOCKSTITCH_WEBHOOK_SECRETS",
        "LOCKSTITCH_LINK_SECRETS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ],
)
def test_a_secret_is_not_shown_where_the_settings_are(variable):
    assert "sk-secret" not in repr(read(**{variable: "sk-secret"}))


def test_webhooks_stay_away_from_private_addresses_unless_told_otherwise():
    assert read(LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE="false").webhook_allow_private is False


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, True),
        ({"OPENAI_API_KEY": "sk-1"}, False),
        ({"OPENAI_BASE_URL": "http://models/v1"}, False),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1"}, True),  # nothing more than the default
        ({"OPENAI_API_KEY": "sk-1", "LOCKSTITCH_MODEL": "offline"}, True),
        ({"LOCKSTITCH_MODEL": "openai"}, False),
    ],
)
def test_the_offline_model_takes_the_turns_where_no_endpoint_is_set(environment, offline):
    assert read(**environment).uses_offline_model is offline


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8700", True),
        ("http://127.0.0.1:8700/v1", True),
        ("http://127.0.0.1:8700/v1/", True),
        ("http://localhost:8700/v1", True),
        ("http://0.0.0.0:8700/v1", True),
        ("http://lockstitch.local:8700/v1", True),
        ("http://127.0.0.1:8701/v1", False),
        ("http://other.local:8700/v1", False),
        ("https://models/v1", False),
    ],
)
def test_a_base_url_that_leads_to_this_server_is_no_endpoint_even_with_a_key(url, own):
    """A client's setting in the shell that starts the server: it must not ask itself."""
    config = read(OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-1", LOCKSTITCH_HOST="lockstitch.local")

    assert config.uses_offline_model is own


def test_a_base_url_that_leads_to_this_server_follows_the_port():
    assert read(OPENAI_BASE_URL="http://localhost:9000/v1", LOCKSTITCH_PORT="9000").uses_offline_model
    assert not read(OPENAI_BASE_URL="http://localhost:8700/v1", LOCKSTITCH_PORT="9000").uses_offline_model
