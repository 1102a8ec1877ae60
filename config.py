"""Every environment variable, read once at an entry point into one frozen object."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Literal

from lockstitch.errors import SettingsInvalid
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.tracing import TraceSettings

ModelChoice = Literal["auto", "openai", "offline", "local"]
ModelApi = Literal["auto", "responses", "chat"]
EmbedderChoice = Literal["none", "minilm", "static", "endpoint"]
SandboxChoice = Literal["none", "sandlock", "bwrap"]
OPENAI_URL = "https://api.openai.com/v1"
LogFormat = Literal["console", "json"]


PREFIX = "LOCKSTITCH_"
LARGEST_PORT = 65_535
LARGEST_NUMBER = 1_000_000
DEPLOYMENT_NAME = r"[A-Za-z0-9_-]{1,100}"
BUILD_ID = r"[A-Za-z0-9._+-]{1,100}"


def _setting(
    variable: str,
    default: Any,
    description: str,
    choices: tuple[str, ...] = (),
    numbers: tuple[int, int] = (0, LARGEST_NUMBER),
    check: Callable[[Sequence[str]], object] | None = None,
    pattern: str = "",
) -> Any:
    """Make a field; ``check`` raises `ValueError` for the parts of a list that cannot be read."""
    told = {"variable": variable, "description": description, "choices": choices, "numbers": numbers}
    return field(default=default, metadata={**told, "check": check, "pattern": pattern})


def _secret(variable: str, description: str, default: Any = "") -> Any:
    metadata = {"variable": variable, "description": description, "choices": ()}
    return field(default=default, repr=False, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one process. Each field's metadata says which variable it comes from and what it is for."""

    temporal_address: str = _setting("LOCKSTITCH_TEMPORAL_ADDRESS", "127.0.0.1:7233", "The Temporal server.")
    temporal_namespace: str = _setting("LOCKSTITCH_TEMPORAL_NAMESPACE", "default", "Its namespace.")
    task_queue: str = _setting("LOCKSTITCH_TASK_QUEUE", "lockstitch", "The task queue of runs.")
    temporal_tls: bool = _setting(
        "LOCKSTITCH_TEMPORAL_TLS",
        False,
        "Whether the Temporal server is spoken to over TLS. An API key or a client certificate turns it on.",
        ("false", "true"),
    )
    temporal_tls_ca: str = _setting(
        "LOCKSTITCH_TEMPORAL_TLS_CA",
        "",
        "A file with the certificates that the server's is checked against. Empty: those of the system.",
    )
    temporal_tls_cert: str = _setting(
        "LOCKSTITCH_TEMPORAL_TLS_CERT", "", "A file with the client certificate, where the server wants one."
    )
    temporal_tls_key: str = _setting("LOCKSTITCH_TEMPORAL_TLS_KEY", "", "A file with its private key.")
    temporal_tls_server_name: str = _setting(
        "LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME",
        "",
        "The name that the server's certificate has, where it is not that of the address.",
    )
    temporal_api_key: str = _secret("LOCKSTITCH_TEMPORAL_API_KEY", "The key of Temporal Cloud's API.")
    payload_keys: tuple[str, ...] = _secret(
        "LOCKSTITCH_PAYLOAD_KEYS",
        "Keys that encrypt what travels through Temporal, as id:base64 of 32 bytes, separated by commas, the same for "
        "every process. The first encrypts, all decrypt; plain in the first place encrypts nothing.",
        (),
    )
    payload_store: str = _setting(
        "LOCKSTITCH_PAYLOAD_STORE",
        "",
        "Where payloads go that are too large for Temporal, the same for every process: file:///folder or "
        "s3://bucket/prefix. Empty: nowhere.",
    )
    payload_store_over_kib: int = _setting(
        "LOCKSTITCH_PAYLOAD_STORE_OVER_KIB",
        128,
        "How large a payload is, in KiB, that goes there.",
        numbers=(1, 2048),
    )
    codec_origins: tuple[str, ...] = _setting(
        "LOCKSTITCH_CODEC_ORIGINS",
        (),
        "Origins of Temporal UIs, separated by commas, whose pages may have the HTTP server decode payloads.",
    )
    database_url: str = _setting(
        "LOCKSTITCH_DATABASE_URL",
        "sqlite:///.lockstitch/lockstitch.db",
        "Where threads, runs and events are stored: a SQLite file, or postgresql://user:password@host/database.",
    )
    database_connections: int = _setting(
        "LOCKSTITCH_DATABASE_CONNECTIONS",
        10,
        "Connections to PostgreSQL that a process opens at most; the HTTP server has one more, which listens.",
        numbers=(1, 1000),
    )
    database_auto_upgrade: bool = _setting(
        "LOCKSTITCH_DATABASE_AUTO_UPGRADE",
        True,
        "Whether a process that starts brings the tables to the form that it needs; if not, it refuses to start on "
        "others, and `lockstitch db upgrade` does it.",
        ("false", "true"),
    )
    host: str = _setting("LOCKSTITCH_HOST", "127.0.0.1", "The address that the HTTP server listens on.")
    port: int = _setting("LOCKSTITCH_PORT", 8700, "The HTTP server's port.", numbers=(0, LARGEST_PORT))
    server_url: str = _setting(
        "LOCKSTITCH_SERVER_URL", "http://127.0.0.1:8700", "Where the starter reads event streams."
    )
    server_api_key: str = _secret(
        "LOCKSTITCH_SERVER_API_KEY", "The key with which the starter reads event streams, where keys are asked for."
    )
    request_timeout: timedelta = _setting(
        "LOCKSTITCH_REQUEST_TIMEOUT_SECONDS",
        timedelta(seconds=30),
        "How many seconds a client of the HTTP server may take for the head of a request, and for its body beyond one "
        "second for each KiB.",
        numbers=(1, LARGEST_NUMBER),
    )
    max_streams: int = _setting(
        "LOCKSTITCH_MAX_STREAMS",
        5000,
        "Event streams that one HTTP server sends at a time; one more is answered with 503.",
        numbers=(1, LARGEST_NUMBER),
    )
    max_streams_per_key: int = _setting(
        "LOCKSTITCH_MAX_STREAMS_PER_KEY",
        1000,
        "Of these, those of one key; one more is answered with 429.",
        numbers=(1, LARGEST_NUMBER),
    )
    metrics_host: str = _setting(
        "LOCKSTITCH_METRICS_HOST", "127.0.0.1", "The address of the worker's /metrics, /healthz and /readyz."
    )
    metrics_port: int = _setting("LOCKSTITCH_METRICS_PORT", 9464, "Their port.", numbers=(0, LARGEST_PORT))
    tenant_classes: tuple[str, ...] = _setting(
        "LOCKSTITCH_TENANT_CLASSES",
        (),
        "Classes by which metrics of runs tell tenants apart, separated by commas: acme=gold,free-*=trial. A * at the "
        "end fits any rest, the first that fits counts, and everybody else is default.",
        check=TenantClasses,
    )
    model_prices: tuple[str, ...] = _setting(
        "LOCKSTITCH_MODEL_PRICES",
        (),
        "What models cost, separated by commas: gpt-4o=2.5/10,gpt-4o-mini=0.15/0.6/0.075, in dollars per million "
        "tokens of the prompt, of the completion and of the cached part of the prompt. A * at the end of a name fits "
        "any rest.",
        check=ModelPrices,
    )
    budget_dollars_per_day: int = _setting(
        "LOCKSTITCH_BUDGET_DOLLARS_PER_DAY",
        0,
        "How many dollars models may cost in a day before somebody is told. 0: there is no such budget.",
    )
    tools: tuple[str, ...] = _setting(
        "LOCKSTITCH_TOOLS",
        (),
        "Import paths of tools, separated by commas: package.module or package.module:name.",
    )
    worker_serves: tuple[str, ...] = _setting(
        "LOCKSTITCH_WORKER_SERVES",
        ("runs", "tools", "files", "code"),
        "What a worker does, separated by commas: runs, the task queues of tools that have one of their own, the "
        "ingestion of files, the code of the code interpreter. So that code, and files that nobody knows, stay on "
        "machines of their own.",
        ("runs", "tools", "files", "code"),
    )
    model: ModelChoice = _setting(
        "LOCKSTITCH_MODEL",
        "auto",
        "Who takes model turns; auto is the OpenAI-compatible endpoint where OPENAI_API_KEY or OPENAI_BASE_URL is set, "
        "else the offline model; local is a small language model on this machine.",
        ("auto", "openai", "offline", "local"),
    )
    model_api: ModelApi = _setting(
        "LOCKSTITCH_MODEL_API",
        "auto",
        "The endpoint's API; auto is Responses where the endpoint has it, else Chat Completions.",
        ("auto", "responses", "chat"),
    )
    model_timeout: timedelta = _setting(
        "LOCKSTITCH_MODEL_TIMEOUT_SECONDS",
        timedelta(seconds=120),
        "How many seconds the endpoint may be silent before the turn is tried again.",
        numbers=(1, LARGEST_NUMBER),
    )
    model_context_tokens: int = _setting(
        "LOCKSTITCH_MODEL_CONTEXT_TOKENS",
        0,
        "How many tokens the model takes at once: longer threads are shortened. 0: as the model's name says, where it "
        "is known.",
        numbers=(0, 100_000_000),
    )
    model_script: str = _setting("LOCKSTITCH_MODEL_SCRIPT", "", "A script that the offline model follows, for tests.")
    openai_api_key: str = _secret("OPENAI_API_KEY", "The key of the model endpoint.")
    openai_base_url: str = _setting("OPENAI_BASE_URL", OPENAI_URL, "The model endpoint.")
    embedder: EmbedderChoice = _setting(
        "LOCKSTITCH_EMBEDDER",
        "none",
        "What turns the text of vector stores into vectors, the same for every process: a small model that runs "
        "anywhere, static vectors, or an endpoint; none searches by words alone.",
        ("none", "minilm", "static", "endpoint"),
    )
    embeddings_url: str = _setting(
        "LOCKSTITCH_EMBEDDINGS_URL", OPENAI_URL, "The endpoint of the embedder endpoint: its URL without /embeddings."
    )
    embeddings_api_key: str = _secret("LOCKSTITCH_EMBEDDINGS_API_KEY", "The key of that endpoint.")
    embeddings_model: str = _setting(
        "LOCKSTITCH_EMBEDDINGS_MODEL", "text-embedding-3-small", "The model that it is asked for."
    )
    embeddings_dimensions: int = _setting(
        "LOCKSTITCH_EMBEDDINGS_DIMENSIONS",
        0,
        "How long its vectors shall be, where the model can make shorter ones. 0: as they come.",
        numbers=(0, 16_000),
    )
    embeddings_timeout: timedelta = _setting(
        "LOCKSTITCH_EMBEDDINGS_TIMEOUT_SECONDS",
        timedelta(seconds=60),
        "How many seconds the endpoint may take for up to 32 texts before they are tried again.",
        numbers=(1, LARGEST_NUMBER),
    )
    sandbox: SandboxChoice = _setting(
        "LOCKSTITCH_SANDBOX",
        "none",
        "What confines the code of the code interpreter and the reading of documents, the same for every process: none "
        "refuses that tool, and reads nothing but text.",
        ("none", "sandlock", "bwrap"),
    )
    sandbox_python: str = _setting(
        "LOCKSTITCH_SANDBOX_PYTHON", "", "The Python that runs it, with its packages; empty is the worker's own."
    )
    sandbox_warm_kernels: int = _setting(
        "LOCKSTITCH_SANDBOX_WARM_KERNELS",
        1,
        "Interpreters kept ready with numpy, pandas and matplotlib imported, about 120 MB each.",
        numbers=(0, 100),
    )
    sandbox_memory_mib: int = _setting(
        "LOCKSTITCH_SANDBOX_MEMORY_MIB",
        1024,
        "Memory that a session may use, all its processes together, in MiB.",
        numbers=(128, LARGEST_NUMBER),
    )
    sandbox_processes: int = _setting(
        "LOCKSTITCH_SANDBOX_PROCESSES", 64, "Processes that it may have.", numbers=(4, 10_000)
    )
    sandbox_wall: timedelta = _setting(
        "LOCKSTITCH_SANDBOX_WALL_SECONDS",
        timedelta(seconds=120),
        "How many seconds one call may take before it is stopped.",
        numbers=(1, 86_400),
    )
    sandbox_cpu: timedelta = _setting(
        "LOCKSTITCH_SANDBOX_CPU_SECONDS",
        timedelta(seconds=300),
        "How many seconds of processor time, over all processes, it may take.",
        numbers=(1, LARGEST_NUMBER),
    )
    sandbox_disk_mib: int = _setting(
        "LOCKSTITCH_SANDBOX_DISK_MIB",
        512,
        "Room for the files of a session, in MiB.",
        numbers=(1, LARGEST_NUMBER),
    )
    sandbox_output_kib: int = _setting(
        "LOCKSTITCH_SANDBOX_OUTPUT_KIB",
        256,
        "Text that one call may print, in KiB; what comes after it is left out.",
        numbers=(1, 16_384),
    )
    sandbox_files: int = _setting(
        "LOCKSTITCH_SANDBOX_FILES", 100, "Files that are kept of what one call made.", numbers=(0, 10_000)
    )
    assistants_url: str = _setting(
        "LOCKSTITCH_ASSISTANTS_URL",
        "",
        "The server of the backend assistants, with its /v1; on Azure the resource's URL. Empty: there is none.",
    )
    assistants_api_key: str = _secret("LOCKSTITCH_ASSISTANTS_API_KEY", "The key of that server.")
    assistants_api_version: str = _setting(
        "LOCKSTITCH_ASSISTANTS_API_VERSION",
        "",
        "The API version for which Azure is asked; the server is addressed as Azure's are where this is set.",
    )
    adopt_threads: tuple[str, ...] = _setting(
        "LOCKSTITCH_ADOPT_THREADS",
        (),
        "Threads of that server, separated by commas, on which runs that nobody answers are taken over.",
    )
    webhook_url: str = _secret("LOCKSTITCH_WEBHOOK_URL", "Where the worker tells of escalations; empty tells nobody.")
    webhook_secrets: tuple[str, ...] = _secret(
        "LOCKSTITCH_WEBHOOK_SECRETS",
        "Secrets that sign webhooks, whsec_ and base64, separated by commas; each of them signs.",
        (),
    )
    webhook_allow_private: bool = _setting(
        "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE",
        False,
        "Whether webhooks may go to addresses that are not public.",
        ("false", "true"),
    )
    link_secrets: tuple[str, ...] = _secret(
        "LOCKSTITCH_LINK_SECRETS",
        "Secrets of 32 bytes or more that sign decision links, separated by commas, newest first. Empty: no links.",
        (),
    )
    public_url: str = _setting(
        "LOCKSTITCH_PUBLIC_URL",
        "",
        "Where people reach the HTTP server, for decision links; LOCKSTITCH_SERVER_URL where it is empty.",
    )
    temporal_ui_url: str = _setting(
        "LOCKSTITCH_TEMPORAL_UI_URL",
        "",
        "Where operators reach the Temporal UI, for the links of the page /console; it has none where this is empty.",
    )
    deliveries_kept_days: int = _setting(
        "LOCKSTITCH_DELIVERIES_KEPT_DAYS",
        30,
        "How many days back the log of webhook deliveries goes.",
        numbers=(1, 36_500),
    )
    otel_endpoint: str = _setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "The OpenTelemetry collector that traces are sent to, over OTLP/HTTP: its URL without /v1/traces. Empty: there "
        "are no traces.",
    )
    otel_headers: tuple[str, ...] = _secret(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers for that collector, such as its key: name=value, separated by commas.",
        (),
    )
    otel_service_name: str = _setting("OTEL_SERVICE_NAME", "lockstitch", "What this process is called in traces.")
    otel_sampler_arg: float = _setting(
        "OTEL_TRACES_SAMPLER_ARG",
        1.0,
        "Which part of the traces that begin here is kept, between 0 and 1; one that a caller began is kept where the "
        "caller keeps it.",
        numbers=(0, 1),
    )
    log_format: LogFormat = _setting("LOCKSTITCH_LOG_FORMAT", "console", "How log lines look.", ("console", "json"))
    log_level: str = _setting(
        "LOCKSTITCH_LOG_LEVEL", "info", "What is logged.", ("debug", "info", "warning", "error", "critical")
    )
    max_concurrent_activities: int = _setting(
        "LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES",
        1000,
        "Streams and handlers that one worker takes at a time.",
        numbers=(1, LARGEST_NUMBER),
    )
    shutdown_grace: timedelta = _setting(
        "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS",
        timedelta(seconds=30),
        "How many seconds a worker that was told to stop lets streams and handlers finish, and a server requests.",
    )
    deployment_name: str = _setting(
        "LOCKSTITCH_DEPLOYMENT_NAME",
        "",
        "The name under which workers have versions: a run then ends on the version on which it began. The same for "
        "every worker of a task queue. Empty: workers have no versions, and any of them goes on with any run.",
        pattern=DEPLOYMENT_NAME,
    )
    build_id: str = _setting(
        "LOCKSTITCH_BUILD_ID",
        "",
        "The version of this worker, another one for each image; empty is lockstitch- and the release.",
        pattern=BUILD_ID,
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Config":
        """Read the settings; an empty variable counts as not set. Raises `SettingsInvalid`.

        A variable with our prefix that is no setting is refused too: a name that is spelled wrong would otherwise leave
        a setting at its default, unnoticed.
        """
        values, problems = _read(environment)
        if problems:
            raise problems[0]
        return cls(**values)

    @staticmethod
    def problems_in(environment: Mapping[str, str]) -> list[SettingsInvalid]:
        """Return what is wrong with the variables, all of it."""
        return _read(environment)[1]

    @property
    def traces(self) -> TraceSettings:
        """Where traces go."""
        return TraceSettings(self.otel_endpoint, self.otel_headers, self.otel_service_name, self.otel_sampler_arg)

    @property
    def build(self) -> str:
        """What this build is called: its id, or the release."""
        return self.build_id or f"lockstitch-{version('lockstitch')}"

    @property
    def uses_offline_model(self) -> bool:
        """Whether the offline model takes the turns.

        An ``OPENAI_BASE_URL`` that leads to this very server is a client's setting that the shell shares with us:
        a server that asks itself for model turns would wait for ever.
        """
        if self.model != "auto":
            return self.model == "offline"
        own = {f"http://{host}:{self.port}" for host in ("127.0.0.1", "localhost", "0.0.0.0", self.host)}  # noqa: S104
        if any(self.openai_base_url.rstrip("/").removesuffix("/v1") == url for url in own):
            return True
        return not self.openai_api_key and self.openai_base_url == OPENAI_URL


def _read(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[SettingsInvalid]]:
    """Return the values that are set, and what is wrong with the others."""
    values: dict[str, Any] = {}
    problems = _unknown(environment)
    for setting in fields(Config):
        text = environment.get(setting.metadata["variable"], "").strip()  # secrets end in line breaks
        try:
            if text:
                values[setting.name] = _parse(setting.metadata, setting.default, text)
        except SettingsInvalid as problem:
            problems.append(problem)
    return values, problems


_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")


def _unknown(environment: Mapping[str, str]) -> list[SettingsInvalid]:
    known = [setting.metadata["variable"] for setting in fields(Config)]
    problems = []
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in known or not environment[variable].strip():
            continue
        if _SERVICE_LINK.search(variable):
            said = "it comes from Kubernetes, which tells pods of their Services; set enableServiceLinks: false."
        elif near := difflib.get_close_matches(variable, known, n=1, cutoff=0.8):
            said = f"there is no such setting; did you mean {near[0]}?"
        else:
            said = "there is no such setting; `lockstitch config show` names those that there are."
        problems.append(SettingsInvalid(variable, said))
    return problems


def _parse(metadata: Mapping[str, Any], default: Any, text: str) -> Any:
    variable, choices = metadata["variable"], metadata["choices"]
    if isinstance(default, tuple):
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        for part in parts if choices else ():
            _check_choice(variable, choices, part)
        _check_parts(metadata, parts)
        return parts
    _check_choice(variable, choices, text)
    if isinstance(default, bool):
        return text == "true"
    if isinstance(default, float):
        return _fraction(metadata, text)
    if isinstance(default, int | timedelta):
        number = _number(metadata, text)
        return timedelta(seconds=number) if isinstance(default, timedelta) else number
    if (pattern := metadata.get("pattern")) and not re.fullmatch(pattern, text):
        raise SettingsInvalid(variable, f"{text!r} is not of the form {pattern}.")
    return text


def _check_parts(metadata: Mapping[str, Any], parts: Sequence[str]) -> None:
    check = metadata.get("check")
    try:
        if check is not None:
            check(parts)
    except ValueError as error:
        raise SettingsInvalid(metadata["variable"], str(error)) from error


def _check_choice(variable: str, choices: tuple[str, ...], text: str) -> None:
    if choices and text not in choices:
        raise SettingsInvalid(variable, f"{text!r} is not one of {', '.join(choices)}.")


def _fraction(metadata: Mapping[str, Any], text: str) -> float:
    least, most = metadata["numbers"]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SettingsInvalid(metadata["variable"], f"{text!r} is no number between {least} and {most}.")
    return number


def _number(metadata: Mapping[str, Any], text: str) -> int:
    variable = metadata["variable"]
    try:
        number = int(text)
    except ValueError as error:
        raise SettingsInvalid(variable, f"{text!r} is no whole number.") from error
    least, most = metadata["numbers"]
    if not least <= number <= most:
        raise SettingsInvalid(variable, f"{text!r} is not between {least} and {most}.")
    return number
