"""What is unsafe about settings that each can be used: said to operators before something happens."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from lockstitch.config import OPENAI_URL, Config

Level = Literal["wrong", "unsafe", "note"]

SHORT_GRACE = timedelta(seconds=5)
"""With less, a handler that is under way when its worker stops has hardly a chance."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one setting, in one sentence that says what to do.

    ``wrong`` keeps a process from starting; ``unsafe`` lets it start and may cost data or secrets; a ``note`` is
    something that works and may not be what was meant.
    """

    level: Level
    variable: str
    sentence: str


def review(config: Config) -> list[Finding]:
    """Return what is unsafe about the settings, and what may not be meant; what is dangerous comes first."""
    found = [*_temporal(config), *_network(config), *_secrets(config), *_people(config), *_work(config)]
    return sorted(found, key=lambda finding: finding.level == "note")


def _temporal(config: Config) -> Iterator[Finding]:
    if _is_local(config.temporal_address):
        return
    if not (config.temporal_tls or config.temporal_tls_cert or config.temporal_api_key):
        yield Finding(
            "unsafe",
            "LOCKSTITCH_TEMPORAL_TLS",
            "messages and tool outputs cross the network to the Temporal server in the clear; set it to true.",
        )
    if not config.payload_keys:
        yield Finding(
            "note",
            "LOCKSTITCH_PAYLOAD_KEYS",
            "whoever runs the Temporal server reads messages and tool outputs there; keys encrypt them.",
        )


def _network(config: Config) -> Iterator[Finding]:
    if config.database_url.startswith("postgresql") and _crosses_the_network(config.database_url):
        if "sslmode=verify-full" not in config.database_url:
            yield Finding(
                "unsafe",
                "LOCKSTITCH_DATABASE_URL",
                "whoever can stand between the processes and the database reads it; add ?sslmode=verify-full.",
            )
    elif not config.database_url.startswith("postgresql") and not _is_local(config.temporal_address):
        yield Finding(
            "note",
            "LOCKSTITCH_DATABASE_URL",
            "a SQLite file serves the processes of one machine; with several machines, use PostgreSQL.",
        )
    if config.metrics_host in _EVERYWHERE:
        yield Finding(
            "note",
            "LOCKSTITCH_METRICS_HOST",
            "whoever reaches this machine reads the metrics, names of tools and models among them; let a firewall or a "
            "NetworkPolicy admit the scraper only.",
        )
    if config.webhook_allow_private:
        yield Finding(
            "note",
            "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE",
            "webhooks may reach addresses inside the network; keep it to where the receiver has such an address.",
        )


def _secrets(config: Config) -> Iterator[Finding]:
    for variable, url, key in (
        ("OPENAI_BASE_URL", config.openai_base_url, config.openai_api_key),
        ("LOCKSTITCH_ASSISTANTS_URL", config.assistants_url, config.assistants_api_key),
        ("LOCKSTITCH_EMBEDDINGS_URL", config.embeddings_url, config.embeddings_api_key),
        ("LOCKSTITCH_SERVER_URL", config.server_url, config.server_api_key),
    ):
        if key and _is_plain(url):
            yield Finding("unsafe", variable, "its key crosses the network in the clear; use https.")
    if config.webhook_url and _is_plain(config.webhook_url):
        yield Finding("unsafe", "LOCKSTITCH_WEBHOOK_URL", "escalations cross the network in the clear; use https.")
    if config.webhook_url and not config.webhook_secrets:
        yield Finding(
            "unsafe",
            "LOCKSTITCH_WEBHOOK_SECRETS",
            "webhooks are not signed, so the receiver cannot tell who sent them; set a secret.",
        )
    if config.link_secrets and _is_plain(config.public_url or config.server_url):
        yield Finding(
            "unsafe", "LOCKSTITCH_PUBLIC_URL", "who holds a decision link decides, and links go over http; use https."
        )
    if config.log_level == "debug":
        yield Finding(
            "note", "LOCKSTITCH_LOG_LEVEL", "at debug the libraries say much that nobody reads; use info where it runs."
        )


def _people(config: Config) -> Iterator[Finding]:
    if not config.webhook_url:
        yield Finding(
            "note",
            "LOCKSTITCH_WEBHOOK_URL",
            "nobody is told when a run waits for a person; without it, somebody has to look at "
            "`lockstitch escalations list`.",
        )
    if config.link_secrets and not config.public_url and _is_local(urlsplit(config.server_url).netloc):
        yield Finding(
            "unsafe",
            "LOCKSTITCH_PUBLIC_URL",
            "decision links lead to this machine itself, where the people who get them cannot follow; set it.",
        )


def _work(config: Config) -> Iterator[Finding]:
    if config.shutdown_grace < SHORT_GRACE:
        yield Finding(
            "note",
            "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS",
            "a worker that stops gives up what is under way nearly at once: handlers run again elsewhere, and people "
            "are asked about those that may not.",
        )
    if config.model_script:
        yield Finding("note", "LOCKSTITCH_MODEL_SCRIPT", "every run follows the script; it is for tests.")
    elif config.uses_offline_model and "runs" in config.worker_serves:
        yield Finding(
            "note",
            "LOCKSTITCH_MODEL",
            "the offline model answers from its own rules; set OPENAI_API_KEY or OPENAI_BASE_URL for a real one.",
        )
    if config.openai_base_url == OPENAI_URL and config.model == "openai" and not config.openai_api_key:
        yield Finding("unsafe", "OPENAI_API_KEY", "the endpoint refuses requests without a key, so every run fails.")
    if "code" in config.worker_serves and config.sandbox == "none":
        yield Finding(
            "note", "LOCKSTITCH_SANDBOX", "the code interpreter is off, and files other than text are refused."
        )


def _is_local(address: str) -> bool:
    host = address.rsplit("@")[-1].rpartition(":")[0] or address
    return host in _LOOPBACK


def _is_plain(url: str) -> bool:
    """Tell whether what is said to ``url`` crosses a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _crosses_the_network(url: str) -> bool:
    host = urlsplit(url).hostname
    return host is not None and host not in _LOOPBACK
