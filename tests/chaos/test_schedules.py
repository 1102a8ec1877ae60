"""An accepted run always ends, or stands in front of a person with a deadline: tried with schedules of misfortunes.

`make chaos` tries thousands of them: CHAOS_SCHEDULES says how many for each backend, CHAOS_SEED which. A schedule that
breaks a promise is printed as the code that makes it; `Universe.carry_out` carries it out again.
"""

import asyncio
import logging
import os
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lockstitch.starter.contract import BackendName
from lockstitch.tests.chaos.invariants import check
from lockstitch.tests.chaos.schedule import Schedule, schedules
from lockstitch.tests.chaos.world import Outcome, Universe, universe

# The SDK warns of a cancellation that crosses an activity's end on its way.
pytestmark = pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning")

SHORT = 1
"""Batches of schedules in the default run."""

AT_ONCE = 20
"""Schedules in a batch, which happen at the same time."""

LONG = int(os.environ.get("CHAOS_SCHEDULES", "2000")) // AT_ONCE
SEED = int(os.environ.get("CHAOS_SEED", "1"))

# A batch is not made smaller, for other misfortunes would then meet; the schedules that failed are printed instead.
_same = {"deadline": None, "database": None, "phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}
_always_the_same = settings(max_examples=SHORT, **_same)
_long = settings(max_examples=LONG, **_same)


class Batch:
    """Schedules that happen at the same time; too many to be printed."""

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self.schedules = schedules

    def __repr__(self) -> str:
        return f"<{len(self.schedules)} schedules>"


def batches(backend: Any) -> Any:
    """Draw a batch."""
    return st.lists(schedules(backend), min_size=AT_ONCE, max_size=AT_ONCE).map(Batch)


@dataclass
class Tally:
    """How the runs of all schedules ended."""

    ends: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        assert outcome.result is not None
        self.ends[outcome.result.status] += 1
        self.counts += Counter(
            {
                "runs": 1,
                "runs upstream": len(outcome.result.attempts),
                "workers killed": outcome.deaths,
                "workers restarted": outcome.restarts,
                "workers left behind": outcome.left_behind,
                "handlers called": len(outcome.executions),
                "questions asked": len(outcome.result.escalations),
                "questions decided": sum(1 for it in outcome.result.escalations if it.decision is not None),
            }
        )

    def __str__(self) -> str:
        told = [*self.counts.items(), *((f"ended as {status}", number) for status, number in sorted(self.ends.items()))]
        return "\n".join(f"  {name:20} {number:7}" for name, number in told)


class Chaos:
    """Carries out schedules in a loop of its own, for hypothesis knows none."""

    def __init__(self, runner: asyncio.Runner, shared: Universe) -> None:
        self.runner = runner
        self.shared = shared
        self.tally = Tally()
        self.broken: list[str] = []

    def carry_out(self, batch: Batch) -> None:
        """Carry schedules out, all at once, and check what must be true of each; after one that failed, no more."""
        if not self.broken:
            self.broken = [told for told in self.runner.run(self._all(batch.schedules)) if told is not None]
            for told in self.broken:
                print(f"\n{told}")

    def try_all(self, backend: BackendName, limits: settings) -> None:
        """Carry out as many batches as ``limits`` says."""

        @seed(SEED)
        @limits
        @given(batch=batches(backend))
        def carry_out(batch: Batch) -> None:
            self.carry_out(batch)

        carry_out()
        assert not self.broken, "\n\n".join(self.broken)

    async def _all(self, batch: Sequence[Schedule]) -> list[str | None]:
        return await asyncio.gather(*(self._one(schedule) for schedule in batch))

    async def _one(self, schedule: Schedule) -> str | None:
        try:
            outcome = await self.shared.carry_out(schedule)
            self.tally.add(outcome)
            check(outcome)
        except Exception:  # noqa: BLE001 - whatever went wrong is told with its schedule
            return f"{traceback.format_exc(limit=-4)}\n{schedule!r}"
        return None


class _KeptForLater(logging.Handler):
    """Keeps the newest of Temporal's complaints about workflows, which tell why a worker does not stop."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: deque[str] = deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "temporalio.worker._workflow":
            self.lines.append(self.format(record))


@pytest.fixture
def quiet() -> Iterator[_KeptForLater]:
    """Everything that goes wrong here is meant to, so nobody wants to read it, unless a promise is broken."""
    kept, root = _KeptForLater(), logging.getLogger("temporalio")
    root.addHandler(kept)
    root.propagate = False
    with structlog.testing.capture_logs():
        yield kept
    root.propagate = True
    root.removeHandler(kept)


@pytest.fixture
def chaos(tmp_path: Any, request: pytest.FixtureRequest, quiet: _KeptForLater) -> Iterator[Chaos]:
    with asyncio.Runner() as runner:
        opened = universe(tmp_path)
        shared = runner.run(opened.__aenter__())
        made = Chaos(runner, shared)
        try:
            yield made
        finally:
            runner.run(opened.__aexit__(None, None, None))
        print(f"\n{request.node.name}, seed {SEED}:\n{made.tally}")
        if made.broken:
            print("Temporal said last:", *quiet.lines, sep="\n")


def test_a_run_of_our_own_always_ends_and_does_nothing_twice(chaos):
    chaos.try_all("local", _always_the_same)


def test_a_run_of_an_assistants_server_always_ends_and_does_nothing_twice(chaos):
    chaos.try_all("assistants", _always_the_same)


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["local", "assistants"])
def test_thousands_of_runs_always_end_and_do_nothing_twice(chaos, backend):
    chaos.try_all(backend, _long)
