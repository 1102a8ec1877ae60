"""How things are measured: one after the other, or many at once, in blocks that take turns."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], Awaitable[object]]
"""One run, from the request to its result."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The measured values of one workload, block by block."""

    blocks: tuple[tuple[float, ...], ...]

    @property
    def values(self) -> list[float]:
        """The values of all blocks."""
        return [value for block in self.blocks for value in block]

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def p90(self) -> float:
        """What nine of ten values do not exceed."""
        return statistics.quantiles(self.values, n=10, method="inclusive")[8]

    def ratios_to(self, other: "Blocks") -> list[float]:
        """Return the ratio of the medians of each pair of blocks, which ran one after the other."""
        pairs = zip(self.blocks, other.blocks, strict=True)
        return [statistics.median(own) / statistics.median(others) for own, others in pairs]


async def one_by_one(workloads: Mapping[str, Work], *, blocks: int, per_block: int) -> dict[str, Blocks]:
    """Measure the seconds that each run takes while nothing else is under way.

    The workloads take turns block by block, the last one first in every other round, so that whatever else the
    machine does meets all of them.
    """
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in workloads}
    for name in _in_turns(workloads, blocks):
        taken[name].append(tuple([await _seconds(workloads[name]) for _ in range(per_block)]))
    return {name: Blocks(tuple(measured)) for name, measured in taken.items()}


async def many_at_once(
    workloads: Mapping[str, Work], *, blocks: int, per_block: int, at_once: int
) -> dict[str, Blocks]:
    """Measure runs per second, one value for each block, with so many runs under way at any time."""
    rates: dict[str, list[tuple[float, ...]]] = {name: [] for name in workloads}
    for name in _in_turns(workloads, blocks):
        rates[name].append((per_block / await _seconds(_crowd(workloads[name], per_block, at_once)),))
    return {name: Blocks(tuple(measured)) for name, measured in rates.items()}


def _in_turns(workloads: Mapping[str, Work], blocks: int) -> list[str]:
    names: Sequence[str] = list(workloads)
    return [name for block in range(blocks) for name in (names if block % 2 == 0 else names[::-1])]


async def _seconds(work: Work) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def _crowd(work: Work, runs: int, at_once: int) -> Work:
    async def crowd() -> None:
        left = iter(range(runs))

        async def take_on() -> None:
            for _ in left:
                await work()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(take_on())

    return crowd
