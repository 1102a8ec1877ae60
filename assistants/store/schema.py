"""The tables.

Times are whole seconds since 1970, as on the wire. They cannot order what happened within one second, so every
table that is listed in pages has ``seq``, a number that only grows.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Json = JSON(none_as_null=True)
_Sequence = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only an INTEGER PRIMARY KEY

DEFAULT_PROJECT = "default"
"""The project of whatever was made by somebody who has no key."""


def _project() -> Column[str]:
    return Column("project_id", String(64), nullable=False, server_default=DEFAULT_PROJECT)


FILE_IN_PROGRESS = text("status = 'in_progress'")
_Time = BigInteger().with_variant(Integer(), "sqlite")  # there are times after 2038


def _foreign(length: int) -> String:
    """Return the type of what others have named: however long it is, SQLite keeps it, so PostgreSQL has to."""
    return String(length).with_variant(Text(), "postgresql")


ACTIVE_RUN = text("status IN ('queued', 'in_progress', 'requires_action', 'cancelling')")

# One row: the oldest version of the tables whose processes work on these. A migration that only adds leaves it alone.
compatibility = Table("compatibility", metadata, Column("oldest_version", String(32), primary_key=True))

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", _Time, nullable=False),
    # The names of the handlers that its runs may use; null: every handler.
    Column("handlers", _Json),
)

keys = Table(
    "keys",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    # SHA-256 of the key, which itself is nowhere.
    Column("secret_hash", String(64), nullable=False, unique=True),
    # How the key begins, so that people recognise it.
    Column("prefix", String(32), nullable=False),
    # Requests per minute; null: without a limit.
    Column("rate_limit", Integer),
    Column("created_at", _Time, nullable=False),
    Column("last_used_at", _Time),
    Column("revoked_at", _Time),
    # Whether it opens the operator's page, which shows the runs of every project; null: no.
    Column("operator", Boolean),
)

assistants = Table(
    "assistants",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("created_at", _Time, nullable=False),
    Column("name", Text),
    Column("description", Text),
    Column("model", Text, nullable=False),
    Column("instructions", Text),
    Column("tools", _Json, nullable=False),
    Column("tool_resources", _Json, nullable=False),
    Column("metadata", _Json, nullable=False),
    Column("temperature", Float),
    Column("top_p", Float),
    Column("reasoning_effort", String(16)),
    Column("response_format", _Json),
    _project(),
    Index(None, "project_id", "seq"),
)

threads = Table(
    "threads",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("created_at", _Time, nullable=False),
    Column("metadata", _Json, nullable=False),
    Column("tool_resources", _Json, nullable=False),
    _project(),
    Index(None, "project_id", "seq"),
)

messages = Table(
    "messages",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", _Json, nullable=False),
    Column("attachments", _Json, nullable=False),
    Column("metadata", _Json, nullable=False),
    Column("assistant_id", String(64)),
    Column("run_id", String(64)),
    Column("status", String(16), nullable=False),
    Column("completed_at", _Time),
    Column("incomplete_at", _Time),
    Column("incomplete_details", _Json),
    Index(None, "thread_id", "seq"),
)

runs = Table(
    "runs",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    Column("assistant_id", String(64), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", _Time),
    Column("expires_at", _Time),
    Column("cancelled_at", _Time),
    Column("failed_at", _Time),
    Column("completed_at", _Time),
    Column("required_action", _Json),
    Column("last_error", _Json),
    Column("incomplete_details", _Json),
    Column("model", Text, nullable=False),
    Column("instructions", Text, nullable=False),
    Column("tools", _Json, nullable=False),
    Column("tool_resources", _Json, nullable=False),
    Column("metadata", _Json, nullable=False),
    Column("temperature", Float),
    Column("top_p", Float),
    Column("reasoning_effort", String(16)),
    Column("max_prompt_tokens", Integer),
    Column("max_completion_tokens", Integer),
    Column("truncation_strategy", _Json, nullable=False),
    Column("response_format", _Json),
    Column("tool_choice", _Json),
    Column("parallel_tool_calls", Boolean, nullable=False),
    Column("usage", _Json, nullable=False),
    # How many model turns of the run are recorded whole; a turn that is asked for again is not taken again.
    Column("turns", Integer, nullable=False, server_default="0"),
    # Its thread's, kept here too so that looking for a run takes one query.
    _project(),
    # The names of the handlers that may answer its calls, as it was when the run was accepted; null: every handler.
    Column("handlers", _Json),
    Index(None, "thread_id", "seq"),
    Index(
        "uq_runs_one_active_per_thread",
        "thread_id",
        unique=True,
        sqlite_where=ACTIVE_RUN,
        postgresql_where=ACTIVE_RUN,
    ),
    Index("ix_runs_active", "status", sqlite_where=ACTIVE_RUN, postgresql_where=ACTIVE_RUN),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("thread_id", String(64), nullable=False),
    Column("assistant_id", String(64), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("type", String(24), nullable=False),
    Column("status", String(16), nullable=False),
    # Of a message step; the calls of a tool step are rows of tool_calls.
    Column("message_id", String(64)),
    Column("cancelled_at", _Time),
    Column("completed_at", _Time),
    Column("expired_at", _Time),
    Column("failed_at", _Time),
    Column("last_error", _Json),
    Column("usage", _Json),
    Column("metadata", _Json, nullable=False),
    Index(None, "run_id", "seq"),
)

# The calls of every backend's runs, so no foreign key to the runs of this server.
tool_calls = Table(
    "tool_calls",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("call_id", _foreign(128), primary_key=True),
    Column("thread_id", _foreign(64), nullable=False, index=True),
    Column("step_id", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", _foreign(64), nullable=False),
    Column("arguments", Text, nullable=False),
    # Written once; a call that has an output is never computed again.
    Column("output", Text),
    Column("outcome", String(24)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("duration_ms", Integer, nullable=False, server_default="0"),
    # The run upstream that made the call; null where the run is our own.
    Column("upstream_id", _foreign(128)),
    # The last attempt that told how it ended; where a later one began, nobody knows what that one did.
    Column("ended_attempt", Integer, nullable=False, server_default="0"),
    # The call of a replaced run that this one makes again, with the same function and arguments.
    Column("repeats", _foreign(128)),
    # ``function`` or a built-in tool; and what a built-in tool gave, as clients see it.
    Column("type", String(24), nullable=False, server_default="function"),
    Column("result", _Json),
    Index(None, "step_id"),
)

code_sessions = Table(
    "code_sessions",
    metadata,
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), primary_key=True),
    # Of the worker that holds the session; nobody else can run code in it.
    Column("task_queue", Text, nullable=False),
    Column("opened_at", _Time, nullable=False),
)

# What code has written in the sessions of a thread; the newest of a path is the one that counts.
code_files = Table(
    "code_files",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("thread_id", ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    Column("path", Text, nullable=False),
    Column("file_id", String(64), nullable=False),
    Index(None, "thread_id", "seq"),
)

# The runs upstream that carry a run: number 0, and those that took its place.
upstream_runs = Table(
    "upstream_runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("thread_id", _foreign(128), nullable=False),
    Column("upstream_id", _foreign(128), index=True),
)

run_logs = Table(
    "run_logs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("last_seq", Integer, nullable=False),
    # Only the writer that drew the latest fence may append what the upstream says.
    Column("fence", Integer, nullable=False),
)

run_events = Table(
    "run_events",
    metadata,
    Column("position", _Sequence, primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("event", String(64), nullable=False),
    Column("data", Text, nullable=False),
    # In seconds since 1970, with their fractions; null: an older release wrote the event.
    Column("recorded_at", Float),
    Index("uq_run_events_run_id_seq", "run_id", "seq", unique=True),
)

# What was accepted for a run or an ingestion of files, by whose id it goes.
commands = Table(
    "commands",
    metadata,
    Column("position", _Sequence, primary_key=True),
    Column("subject_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", _Json, nullable=False),
    Column("created_at", Float, nullable=False),
)

# What one process at a time does for all, and who that is; it counts its renewals up for as long as it lives.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("renewals", BigInteger, nullable=False),
)

# One row for each attempt to tell a person about an escalation; it outlives the run, so there is no foreign key.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("escalation_id", _foreign(255), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("message_id", _foreign(300), nullable=False),
    Column("event", String(32), nullable=False),
    # As it may be shown: no query, no secrets.
    Column("target", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("at", _Time, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Index(None, "escalation_id", "seq"),
    Index(None, "run_id", "seq"),
)

files = Table(
    "files",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("created_at", _Time, nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("expires_at", _Time, index=True),
    _project(),
    Index(None, "project_id", "seq"),
)

file_chunks = Table(
    "file_chunks",
    metadata,
    Column("file_id", ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

vector_stores = Table(
    "vector_stores",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    _project(),
    Column("created_at", _Time, nullable=False),
    Column("name", Text),
    Column("description", Text),
    Column("metadata", _Json, nullable=False),
    Column("last_active_at", _Time, nullable=False),
    Column("expires_after", _Json),
    # Follows from the two columns above; kept so that what has expired can be found.
    Column("expires_at", _Time, index=True),
    Index(None, "project_id", "seq"),
)

vector_store_batches = Table(
    "vector_store_batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vector_store_id", ForeignKey("vector_stores.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _Time, nullable=False),
    Column("cancelled_at", _Time),
)

# A file in a vector store; ``id`` is the file's. The counts of stores and batches are counts of these rows.
vector_store_files = Table(
    "vector_store_files",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("id", ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("vector_store_id", ForeignKey("vector_stores.id", ondelete="CASCADE"), nullable=False),
    # What brings the file in: the id of its batch, or of an ingestion of its own.
    Column("ingestion_id", String(64), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("status", String(16), nullable=False),
    Column("last_error", _Json),
    Column("chunking_strategy", _Json, nullable=False),
    Column("attributes", _Json, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("usage_bytes", BigInteger, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("word_count", Integer, nullable=False),
    # What made the vectors of its chunks; null: they have none.
    Column("embedder", Text),
    Index(None, "vector_store_id", "id", unique=True),
    Index(None, "vector_store_id", "status"),
    Index(None, "ingestion_id", "status", "seq"),
    Index(
        "ix_vector_store_files_in_progress",
        "created_at",
        sqlite_where=FILE_IN_PROGRESS,
        postgresql_where=FILE_IN_PROGRESS,
    ),
)

# The text of the files, as it is searched. The words have an index that each kind of database makes in its own way, and
# the vectors a table: see lexical_index.py and vector_index.py.
vector_store_chunks = Table(
    "vector_store_chunks",
    metadata,
    Column("seq", _Sequence, primary_key=True),
    Column("vector_store_id", String(64), nullable=False),
    Column("file_seq", ForeignKey("vector_store_files.seq", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    # Where the chunk begins in the file's text, in characters: chunks overlap.
    Column("start", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # Its words in the form in which they are compared, separated by blanks.
    Column("words", Text, nullable=False),
    Index(None, "file_seq", "position", unique=True),
    Index(None, "vector_store_id"),
)
