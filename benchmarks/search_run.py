"""Measure file search: ``python benchmarks/search_run.py [--quick] [--check] [--documentation FOLDER]``.

How fast files are ingested with each embedder, how well questions are answered by words, by vectors and by both, and
how long searches take among many chunks. Needs the packages of Debian's documentation (`apt-get download`). Prints
tables and writes ``search.json`` and ``search.md`` into ``benchmarks/results``.
"""

import argparse
import asyncio
import logging
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openai
from rich.console import Console

from lockstitch.assistants.embedding.embedder import Embedder, Vectors
from lockstitch.assistants.embedding.minilm import MiniLm
from lockstitch.assistants.embedding.static import StaticVectors
from lockstitch.assistants.ingestion.chunking import chunks_of
from lockstitch.assistants.ingestion.parsing import TextParser
from lockstitch.assistants.search.query import CANDIDATES, Found
from lockstitch.assistants.store.held_vectors import FileVectors, HeldVectors
from lockstitch.assistants.store.vector_store_files import DEFAULT_CHUNKING, Chunk
from lockstitch.benchmarks import documentation, search_report
from lockstitch.benchmarks.documentation import Question, QuestionSet
from lockstitch.benchmarks.search_report import Ingested, Quality, Ranked, Searched, SearchMeasurements
from lockstitch.benchmarks.search_store import SearchStore, database_url, spread
from lockstitch.dev import DevOptions, DevStack
from lockstitch.errors import FileRefused

RESULTS = Path(__file__).parent / "results"
SMALL_CHUNKS = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
"""Of so many chunks, and no larger: how long a search takes hangs on their number."""

WORDS_OF_A_FILE = 400
DEEPEST = 50
"""An answer behind that place counts as none: a search of the API gives no more."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    files: Mapping[str, int]
    """To ingest, by embedder."""
    ranked: tuple[str, ...]
    """Embedders whose answers are looked at."""
    modules: int
    identifiers: int
    chunks: tuple[int, ...]
    searches: int


FULL = Sizes(
    files={"none": 1000, "static": 1000, "minilm": 1000},
    ranked=("static", "minilm"),
    modules=45,
    identifiers=150,
    chunks=(10_000, 100_000),
    searches=500,
)
QUICK = Sizes(
    files={"none": 200, "static": 200, "minilm": 20},
    ranked=("static",),
    modules=20,
    identifiers=60,
    chunks=(5_000, 25_000),
    searches=100,
)

EMBEDDERS: Mapping[str, Callable[[], Embedder]] = {"static": StaticVectors.load, "minilm": MiniLm.load}


async def measure(sizes: Sizes, docs: Path, console: Console) -> SearchMeasurements:
    """Measure everything."""
    console.print("[dim]Unpacking documentation ...[/]")
    [python, *others] = documentation.download([documentation.PYTHON, *documentation.OTHERS], docs)
    questions = documentation.question_set(python, sizes.modules, sizes.identifiers)
    ranked = {}
    for name in sizes.ranked:
        console.print(f"[dim]Asking {name} ...[/]")
        ranked[name] = await _ranked(EMBEDDERS[name](), questions)
    searched = await _searched(sizes, [python, *others], questions, console)
    ingested = {}
    for name, count in sizes.files.items():
        console.print(f"[dim]Ingesting {count} files, embedder {name} ...[/]")
        ingested[name] = await _ingested(name, count)
    return SearchMeasurements(
        quick=sizes is QUICK,
        ingested=ingested,
        questions={name: of_questions for name, (of_questions, _) in ranked.items()},
        identifiers={name: of_identifiers for name, (_, of_identifiers) in ranked.items()},
        counted={"questions": len(questions.questions), "identifiers": len(questions.identifiers)},
        searched=searched,
    )


# How well questions are answered


async def _ranked(embedder: Embedder, asked: QuestionSet) -> tuple[Ranked, Ranked]:
    chunks = {name: chunks_of(text, DEFAULT_CHUNKING) for name, text in asked.files.items()}
    vectors = {name: await embedder.embed_passages([chunk.text for chunk in its]) for name, its in chunks.items()}
    with tempfile.TemporaryDirectory(prefix="lockstitch-benchmark-") as folder:
        async with SearchStore.open(database_url(Path(folder)), embedder) as store:
            await store.fill(chunks, vectors)
            return await _legs(store, asked.questions), await _legs(store, asked.identifiers)


async def _legs(store: SearchStore, questions: Sequence[Question]) -> Ranked:
    legs = [await _quality(leg, questions) for leg in (store.by_words, store.by_vectors, store.fused)]
    return Ranked(*legs)


async def _quality(search: Callable[[str, int], Awaitable[list[Found]]], questions: Sequence[Question]) -> Quality:
    ranks = [_rank(question, await search(question.text, DEEPEST)) for question in questions]
    found = [1 / rank if rank else 0 for rank in ranks]
    return Quality(sum(found) / len(found), sum(0 < rank <= 5 for rank in ranks) / len(ranks))


def _rank(question: Question, answers: Sequence[Found]) -> int:
    """Return the place of the first answer, 0 where there is none."""
    places = (place for place, it in enumerate(answers, 1) if question.is_answered_by(it.filename, it.text))
    return next(places, 0)


# How long searches take


async def _searched(sizes: Sizes, folders: Sequence[Path], questions: QuestionSet, console: Console) -> list[Searched]:
    console.print("[dim]Dividing and embedding documentation ...[/]")
    embedder = StaticVectors.load()
    chunks = await _small_chunks(folders, max(sizes.chunks))
    vectors = {name: await embedder.embed_passages([chunk.text for chunk in its]) for name, its in chunks.items()}
    asked = [question.text for question in (*questions.questions, *questions.identifiers)]
    measured = []
    for count in sizes.chunks:
        some = _up_to(chunks, count)
        console.print(f"[dim]Searching {sum(map(len, some.values())):,} chunks ...[/]")
        measured.append(await _searched_among(some, vectors, embedder, spread(asked, sizes.searches), sizes.searches))
    return measured


async def _small_chunks(folders: Sequence[Path], count: int) -> Mapping[str, Sequence[Chunk]]:
    """Return small chunks of documentation by page, until there are enough."""
    parser, chunks, total = TextParser(), dict[str, Sequence[Chunk]](), 0
    for number, (name, content) in enumerate(documentation.pages(folders)):
        try:
            text = await parser.parse(name if name.endswith(".html") else "a.txt", content)
        except FileRefused:
            continue
        chunks[f"{number}-{name}"] = chunks_of(text, SMALL_CHUNKS)
        total += len(chunks[f"{number}-{name}"])
        if total >= count:
            break
    return chunks


def _up_to(chunks: Mapping[str, Sequence[Chunk]], count: int) -> Mapping[str, Sequence[Chunk]]:
    some, total = dict[str, Sequence[Chunk]](), 0
    for name, its in chunks.items():
        if total >= count:
            break
        some[name] = its
        total += len(its)
    return some


async def _searched_among(
    chunks: Mapping[str, Sequence[Chunk]],
    vectors: Mapping[str, Vectors],
    embedder: Embedder,
    asked: Sequence[str],
    searches: int,
) -> Searched:
    held, graph_seconds = await asyncio.to_thread(_held, [vectors[name] for name in chunks])
    with tempfile.TemporaryDirectory(prefix="lockstitch-benchmark-") as folder:
        async with SearchStore.open(database_url(Path(folder)), embedder) as store:
            await store.fill(chunks, vectors)
            [first] = await _taken(store.fused, asked[:1])
            if graph_seconds is not None:  # the store's own graph is made meanwhile, and then as good as this one
                await asyncio.sleep(2 * graph_seconds)
            again = [asked[number % len(asked)] for number in range(searches)]
            return Searched(
                chunks=sum(map(len, chunks.values())),
                first=first,
                fused=await _taken(store.fused, again),
                words=await _taken(store.by_words, again),
                vectors=await _taken(store.by_vectors, again),
                graph_seconds=graph_seconds,
                recall_at_20=await _recall(held, embedder, asked),
            )


async def _taken(search: Callable[[str, int], Awaitable[object]], asked: Iterable[str]) -> tuple[float, ...]:
    taken = []
    for text in asked:
        began = time.perf_counter()
        await search(text, 20)
        taken.append(time.perf_counter() - began)
    return tuple(taken)


def _held(vectors: Sequence[Vectors]) -> tuple[HeldVectors, float | None]:
    """Return the vectors as a process holds them, with the graph, and the seconds that it took to make it."""
    files = [FileVectors(seq, seq, each.astype(np.float16)) for seq, each in enumerate(vectors, 1)]
    began = time.perf_counter()
    held = HeldVectors.of(files, vectors[0].shape[1])
    if held.graph is None:
        return held, None
    held.graph.ready.wait()
    return held, time.perf_counter() - began


async def _recall(held: HeldVectors, embedder: Embedder, asked: Sequence[str]) -> float:
    """Return how many of the 20 nearest the index finds, as searches ask it: for more of them than 20."""
    exact = HeldVectors(held.files, held.dimensions, graph=None)
    shares = []
    for text in asked:
        vector = await embedder.embed_query(text)
        found = {near.place for near in held.nearest(vector, CANDIDATES)[:20]}
        truth = {near.place for near in exact.nearest(vector, 20)}
        shares.append(len(found & truth) / len(truth))
    return sum(shares) / len(shares)


# How fast files are ingested


async def _ingested(embedder: str, count: int) -> Ingested:
    """Add files to a store of a whole stack, as a client does, and wait until they are in."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-benchmark-") as folder:
        environment = {"LOCKSTITCH_EMBEDDER": embedder}
        ports: Mapping[str, Any] = {"port": 0, "temporal_port": 0, "ui_port": 0, "metrics_port": 0}
        options = DevOptions(Path(folder), **ports, environment=environment, quiet=True)
        async with (
            DevStack(options) as stack,
            openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="none") as client,
        ):
            file_ids = [
                (await client.files.create(file=(f"{number}.txt", _text(number)), purpose="assistants")).id
                for number in range(count)
            ]
            store = await client.vector_stores.create()
            began = time.perf_counter()
            batch = await client.vector_stores.file_batches.create(store.id, file_ids=file_ids)
            await client.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id, poll_interval_ms=200)
            seconds = time.perf_counter() - began
            with closing(sqlite3.connect(stack.data_dir / "lockstitch.db")) as connection:
                [[chunks]] = connection.execute("SELECT count(*) FROM vector_store_chunks")
    return Ingested(count, chunks, seconds)


def _text(number: int) -> bytes:
    """Return a text of its own for each number, one chunk long."""
    random = np.random.default_rng(number)
    letters = np.array(list("etaoinshrdlu"))
    words = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(WORDS_OF_A_FILE // 2)]
    return " ".join(words).encode()


def main() -> int:
    """Measure, tell, write, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure file search.")
    parser.add_argument("--quick", action="store_true", help="measure less, in two minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--documentation", type=Path, help="where packages are unpacked; kept for the next time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of search.json and search.md")
    options = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="lockstitch-documentation-") as temporary:
        docs = (options.documentation or Path(temporary)).resolve()
        docs.mkdir(parents=True, exist_ok=True)
        try:
            measured = asyncio.run(measure(QUICK if options.quick else FULL, docs, console))
        except documentation.DocumentationMissing as error:
            console.print(f"[red]Documentation cannot be had:[/] {error}")
            return 2
    search_report.show(measured, console)
    search_report.write(measured, options.results)
    missed = [target.name for target in measured.targets() if not target.met]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
