"""Keys: who is let in, what each sees, how soon that changes, and how many requests a key may make."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import select

from lockstitch.assistants.http.app import serve
from lockstitch.assistants.http.keyring import CACHE_SECONDS, USE_NOTED_SECONDS, Keyring
from lockstitch.assistants.http.rate_limits import RateLimits
from lockstitch.assistants.store import keys, projects
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.keys import NewKey
from lockstitch.assistants.store.schema import metadata
from lockstitch.config import Config
from lockstitch.errors import KeyNotFound, KeysMissing

BETA = {"openai-beta": "assistants=v2"}
MISSING = "You didn't provide an API key."
OPEN_PATHS = ("/healthz", "/readyz", "/metrics", "/v1/healthz", "/decisions/none")


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Keys:
    """A server with keys, and what a test does with them."""

    url: str
    database: Database
    clock: Clock = field(default_factory=Clock)

    async def create(self, project: str = "acme", **options: Any) -> tuple[str, str]:
        """Create a key as the command does; return its id and its secret."""

        def unit(connection):
            projects.create(connection, project, 0)
            return keys.create(connection, NewKey(project, **options), int(time.time()))

        row, secret = await self.database.write(unit)
        return row["id"], secret

    @asynccontextmanager
    async def client(self, secret: str | None = None, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A client with a key."""
        given = {} if secret is None else {"authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=BETA | given | headers, trust_env=False) as opened:
            yield opened

    async def answer(self, secret: str | None = None, **headers: str) -> httpx2.Response:
        """List the assistants."""
        async with self.client(secret, **headers) as client:
            return await client.get("/v1/assistants")


@pytest.fixture
async def served(another_server: Callable[..., Any]) -> AsyncIterator[Keys]:
    """A server without keys, so far, whose keyring has a clock of its own."""
    clock = Clock()
    async with another_server(keyring=lambda database: Keyring(database, clock=clock)) as server:
        yield Keys(server.url, server.database, clock)


async def test_without_any_key_everybody_may_do_everything(served):
    assert (await served.answer()).status_code == 200
    assert (await served.answer("anything")).status_code == 200


async def test_the_first_key_is_asked_for_within_seconds_and_the_last_one_for_ever(served):
    assert (await served.answer()).status_code == 200
    key_id, secret = await served.create()
    served.clock.now += CACHE_SECONDS
    assert [(await served.answer(given)).status_code for given in (None, secret)] == [401, 200]

    await served.database.write(lambda connection: keys.revoke(connection, key_id, 1))
    served.clock.now += CACHE_SECONDS
    assert [(await served.answer(given)).status_code for given in (None, secret)] == [401, 401]


@pytest.mark.parametrize("path", ["/v1/assistants", "/v1/threads", "/v1/coffee", "/", "/v1/decisions", "/v1//healthz"])
async def test_a_request_without_a_key_learns_nothing_but_how_to_give_one(served, path):
    await served.create()
    async with served.client() as client:
        answer = await client.get(path, headers={"openai-beta": ""})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (
        401, "invalid_request_error", None, None,
    )  # fmt: skip
    assert error["message"].startswith(MISSING)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_probes_and_decision_links_need_no_key(served):
    await served.create()
    async with served.client() as client:
        answers = {path: (await client.get(path)).status_code for path in OPEN_PATHS}

    assert answers == dict.fromkeys(OPEN_PATHS[:4], 200) | {"/decisions/none": 404}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("sk-proj-0123456789abcdefWXYZ", "sk-p********************WXYZ"),
        ("anything", "an****ng"),
        ("abc", "***"),
        ("x" * 10_000, "xxxx" + "*" * 40 + "xxxx"),
    ],
)
async def test_a_wrong_key_is_told_by_its_ends_alone(served, sent, shown):
    await served.create()
    answer = await served.answer(sent)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.json()["error"]["message"].startswith(f"Incorrect API key provided: {shown}. ")


async def test_a_key_comes_as_bearer_or_in_the_header_of_azure(served):
    _, secret = await served.create()
    _, other = await served.create()
    given = [
        {"authorization": f"bearer  {secret}"},
        {"api-key": secret},
        {"api-key": secret, "authorization": f"Bearer {secret}"},
        {"authorization": f"Basic {secret}"},
        {"authorization": secret},
        {"authorization": "Bearer"},
        {"api-key": other, "authorization": f"Bearer {secret}"},
    ]

    assert [(await served.answer(**headers)).status_code for headers in given] == [200, 200, 200, 401, 401, 401, 400]


async def test_the_sdk_and_the_sdk_for_azure_are_let_in_and_told_why_not(served):
    _, secret = await served.create()
    async with (
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=secret, max_retries=0) as client,
        openai.AsyncAzureOpenAI(azure_endpoint=served.url, api_key=secret, api_version="2024-05-01-preview") as azure,
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-wrong", max_retries=0) as stranger,
    ):
        created = await client.beta.assistants.create(model="test")
        assert (await azure.beta.assistants.retrieve(created.id)).id == created.id
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.beta.assistants.list()
    assert refused.value.code == "invalid_api_key"


async def test_keys_of_one_project_share_its_objects_and_those_of_another_see_nothing(served):
    (_, first), (_, second), (_, stranger) = [await served.create(name) for name in ("acme", "acme", "other")]
    async with served.client(first) as client:
        created = (await client.post("/v1/assistants", json={"model": "test"})).json()
    seen = {}
    for secret in (second, stranger):
        async with served.client(secret) as client:
            answer = await client.get(f"/v1/assistants/{created['id']}")
            listed = (await client.get("/v1/assistants")).json()["data"]
            seen[secret] = (answer.status_code, len(listed))

    assert seen == {second: (200, 1), stranger: (404, 0)}


async def test_what_was_made_before_there_were_keys_belongs_to_the_default_project(served):
    async with served.client() as client:
        created = (await client.post("/v1/assistants", json={"model": "test"})).json()
    _, secret = await served.create("default")
    served.clock.now += CACHE_SECONDS

    assert (await served.answer(secret)).json()["data"] == [created]


async def test_a_run_carries_its_project_as_tenant(another_server):
    async with another_server() as server:
        _, secret = await (served := Keys(server.url, server.database)).create("acme")
        async with served.client(secret) as client:
            assistant = (await client.post("/v1/assistants", json={"model": "m", "instructions": "Hi"})).json()
            run = (await client.post("/v1/threads/runs", json={"assistant_id": assistant["id"]})).json()
        assert (await server.services.starter.snapshot(run["id"])).tenant == "acme"


async def test_when_a_key_was_used_last_is_known_to_the_minute(served):
    key_id, secret = await served.create()

    def last_used():
        return served.database.read(lambda connection: keys.listed(connection)[0]["last_used_at"])

    def set_last_used(at):
        return served.database.write(lambda connection: keys.used(connection, key_id, at))

    before = int(time.time())
    await served.answer(secret)
    async with asyncio.timeout(10):
        while (noted := await last_used()) is None:
            await asyncio.sleep(0.01)
    assert before <= noted <= time.time()

    keyring = Keyring(served.database)
    recently = int(time.time()) - USE_NOTED_SECONDS // 2
    await set_last_used(recently)
    await keyring.note_use(await keyring.caller(secret))
    assert await last_used() == recently


async def test_that_a_key_was_used_cannot_be_written_is_no_error_to_its_user(served):
    _, secret = await served.create()
    keyring = Keyring(served.database)
    caller = await keyring.caller(secret)
    await served.database.write(lambda connection: connection.exec_driver_sql("ALTER TABLE keys RENAME TO gone"))

    await keyring.note_use(caller)
    assert repr(keyring) == "Keyring(asks=True, known=1)"


async def test_a_store_that_is_away_lets_nobody_in(served):
    await served.create()
    await served.database.write(lambda connection: connection.exec_driver_sql("ALTER TABLE keys RENAME TO gone"))
    answer = await served.answer("sk-lockstitch-x")

    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")


async def test_a_key_is_stored_as_a_hash_and_shown_once(database):
    row, secret = await database.write(lambda connection: keys.create(connection, NewKey("default"), 7))
    dump = await database.read(
        lambda connection: str([connection.execute(select(table)).all() for table in metadata.sorted_tables])
    )

    assert secret.startswith("sk-lockstitch-")
    assert len(secret) >= len("sk-lockstitch-") + 43  # 256 bits
    assert keys.hash_of(secret) in dump
    assert secret[: len(row["prefix"]) + 1] not in dump


async def test_a_key_that_does_not_exist_cannot_be_revoked(database):
    with pytest.raises(KeyNotFound, match="key_x"):
        await database.write(lambda connection: keys.revoke(connection, "key_x", 1))


async def test_a_key_that_was_revoked_before_keeps_its_time(database):
    row, _ = await database.write(lambda connection: keys.create(connection, NewKey("default"), 7))
    times = [await database.write(lambda connection, at=at: keys.revoke(connection, row["id"], at)) for at in (8, 9)]

    assert [revoked["revoked_at"] for revoked in times] == [8, 8]


@pytest.fixture
def config(temporal, tmp_path):
    address = temporal.service_client.config.target_host
    url = f"sqlite:///{tmp_path / 'lockstitch.db'}"
    return lambda host: Config(host=host, port=0, database_url=url, temporal_address=address)


async def test_where_others_reach_it_a_server_without_keys_does_not_start(config):
    with pytest.raises(KeysMissing, match="lockstitch keys create --project NAME") as refused:
        await serve(config("0.0.0.0"), asyncio.Event())
    assert refused.value.host == "0.0.0.0"


async def test_with_a_key_it_starts_and_on_loopback_also_without(config):
    stop = asyncio.Event()
    stop.set()
    await serve(config("127.0.0.1"), stop)
    await serve(config("localhost"), stop)
    async with Database(config("0.0.0.0").database_url) as database:
        await database.write(lambda connection: keys.create(connection, NewKey("default"), 0))

    await serve(config("0.0.0.0"), stop)


async def test_where_others_reach_it_a_server_asks_for_keys_even_if_all_are_lost(database):
    assert await Keyring(database, always_asks=True).asks()


async def test_a_key_may_make_so_many_requests_and_hears_how_many_are_left(served):
    _, secret = await served.create(rate_limit=3)
    async with served.client(secret) as client:
        answers = [await client.get(path) for path in ("/v1/assistants", "/v1/coffee", "/v1/files", "/v1/assistants")]
        unlimited = await client.get("/healthz")

    assert [answer.status_code for answer in answers] == [200, 404, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"3"}
    assert [answer.headers["x-ratelimit-reset-requests"] for answer in answers[:1]] == ["20s"]
    assert "x-ratelimit-limit-requests" not in unlimited.headers
    refused, error = answers[-1], answers[-1].json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("requests", None, "rate_limit_exceeded")
    assert error["message"].startswith("Rate limit reached for requests per minute (RPM): Limit 3. Please try again")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 20_000
    assert refused.headers["retry-after"] == str(-(-int(refused.headers["retry-after-ms"]) // 1000))


async def test_a_key_without_a_limit_has_no_headers_about_one(served):
    _, secret = await served.create()

    assert not [name for name in (await served.answer(secret)).headers if name.startswith("x-ratelimit")]


async def test_requests_that_were_not_made_are_saved_up_to_a_minute():
    clock = Clock()
    limits = RateLimits(clock)
    made = [limits.count("key_1", 2) for _ in range(3)]
    other = limits.count("key_2", 2)
    clock.now += 15
    early = limits.count("key_1", 2)
    clock.now += 15
    in_time = limits.count("key_1", 2)
    clock.now += 600
    rested = [limits.count("key_1", 2) for _ in range(3)]

    assert [state.wait_seconds for state in made] == [0, 0, 30]
    assert (other.wait_seconds, early.wait_seconds, in_time.wait_seconds) == (0, 15, 0)
    assert [bool(state.wait_seconds) for state in rested] == [False, False, True]


@pytest.mark.parametrize(("limit", "shown"), [(60_000, "1ms"), (1200, "50ms"), (40, "1.5s"), (2, "30s"), (1, "1m0s")])
def test_how_long_until_a_limit_is_whole_again_is_told_as_the_api_does(limit, shown):
    assert RateLimits(Clock()).count("key_1", limit).headers()["x-ratelimit-reset-requests"] == shown
