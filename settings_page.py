"""The page about settings, docs/settings.md, made of what `Config` says of each of its fields."""

from dataclasses import Field, fields
from datetime import timedelta
from typing import Any

from lockstitch.config import LARGEST_NUMBER, Config

_HEAD = (
    "# Settings\n\n"
    "Every setting is an environment variable, read once when a process starts. An empty variable counts as not set. A "
    "value that cannot be used, or a variable that begins with `LOCKSTITCH_` and is no setting, is said in one "
    "sentence, and the process does not start.\n\n"
    "`lockstitch config check` says everything that is wrong or unsafe about the settings of a shell or a container, "
    "and `lockstitch config show` what they are. This page is what `lockstitch config describe` prints."
)

# The name of the first field of each part, its heading, and what there is to read about it.
_PARTS = {
    "temporal_address": (
        "Temporal",
        "`lockstitch dev` and `lockstitch demo` set the addresses, ports and the database of the processes that they "
        "start.",
    ),
    "payload_keys": ("Private payloads", "More in [payloads.md](payloads.md)."),
    "database_url": ("The database", "More in [database.md](database.md)."),
    "host": ("The HTTP server", "Keys and limits are explained in [keys.md](keys.md)."),
    "metrics_host": ("Metrics", "More in [operations.md](operations.md)."),
    "tools": ("The worker", "Tools are explained in [tools.md](tools.md)."),
    "model": (
        "Model turns",
        "An `OPENAI_BASE_URL` that leads to the server itself is taken for what it is, a client's setting in the same "
        "shell: the worker then uses the offline model. More in [models.md](models.md).",
    ),
    "embedder": (
        "Embedders",
        "`lockstitch dev` and `lockstitch demo` use `minilm` where nothing else is set and the extra `file-search` is "
        "installed. More in [vector-stores.md](vector-stores.md).",
    ),
    "sandbox": ("The sandbox", "More in [sandbox.md](sandbox.md)."),
    "assistants_url": ("The backend assistants", "More in [backends.md](backends.md)."),
    "webhook_url": ("Webhooks and links", "More in [webhooks.md](webhooks.md)."),
    "otel_endpoint": ("Traces", "More in [tracing.md](tracing.md)."),
    "log_format": ("Logs and limits", ""),
}


def settings_page() -> str:
    """Return the page, as Markdown."""
    lines = [_HEAD]
    for setting in fields(Config):
        if setting.name in _PARTS:
            heading, note = _PARTS[setting.name]
            lines += [f"\n## {heading}\n", *([f"{note}\n"] if note else [])]
            lines += ["| variable | takes | default | what it is for |", "|---|---|---|---|"]
        lines.append(_row(setting))
    return "\n".join(lines) + "\n"


def _row(setting: "Field[Any]") -> str:
    default = default_text(setting)
    shown = f"`{default}`" if default else ""
    about = setting.metadata
    return f"| `{about['variable']}` | {_takes(setting)} | {shown} | {about['description']} |"


def default_text(setting: "Field[Any]") -> str:
    """Return the default of a setting as its variable would hold it; empty where it has none."""
    default = setting.default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g}"
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)


def _takes(setting: "Field[Any]") -> str:
    about = setting.metadata
    if not setting.repr:
        return "secrets" if isinstance(setting.default, tuple) else "a secret"
    if about["choices"]:
        some = "some of " if isinstance(setting.default, tuple) else ""
        return some + ", ".join(about["choices"])
    if isinstance(setting.default, tuple):
        return "a list"
    if isinstance(setting.default, int | timedelta):
        least, most = about["numbers"]
        unit = " seconds" if isinstance(setting.default, timedelta) else ""
        return f"{least} or more{unit}" if most == LARGEST_NUMBER else f"{least} to {most}{unit}"
    return "text"
