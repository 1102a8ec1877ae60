"""Where on a picture a moment stands.

Runs work for milliseconds and wait for hours. So a stretch in which nothing happens, and which is much longer than all
the rest, is drawn as a gap of a fixed width; everywhere else one second is as wide as any other.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

MOST_GAPS = 4
GAP_WIDTH = 0.14
"""Of the whole width."""
MUCH_LONGER = 2
"""How many times as long as all the rest a gap is, at least."""
SHORTEST = timedelta(milliseconds=20)
"""What is shorter is drawn as if it were so long."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time and where it is drawn, from 0 to 1."""

    begin: datetime
    end: datetime
    left: float
    right: float
    is_gap: bool


class Scale:
    """Maps moments to places from 0 to 1; ``moments`` are those at which something begins or ends."""

    def __init__(self, moments: Iterable[datetime]) -> None:
        at = sorted(set(moments))
        if at[-1] - at[0] < SHORTEST:
            at = [at[0], at[0] + SHORTEST]
        self._pieces = _pieces(at, _gaps(at))
        self._ends = [piece.end for piece in self._pieces]

    def __repr__(self) -> str:
        return f"Scale({len(self._pieces)} pieces)"

    @property
    def gaps(self) -> Sequence[Piece]:
        """The stretches that are drawn shorter than they are."""
        return [piece for piece in self._pieces if piece.is_gap]

    def place(self, at: datetime) -> float:
        """Return where a moment stands; what lies outside is at the edge."""
        number = bisect_left(self._ends, at)
        if number == len(self._pieces):
            return 1.0
        piece = self._pieces[number]
        part = (at - piece.begin) / (piece.end - piece.begin)
        return piece.left + max(part, 0.0) * (piece.right - piece.left)

    def ticks(self, most: int = 10) -> Sequence[tuple[float, timedelta]]:
        """Return places, and how long after the beginning they are, at most about so many."""
        drawn = [piece for piece in self._pieces if not piece.is_gap]
        seconds = sum((piece.end - piece.begin).total_seconds() for piece in drawn)
        width = sum(piece.right - piece.left for piece in drawn)
        step = _step(seconds / max(width, 0.01) / most)
        begin, found = self._pieces[0].begin, list[tuple[float, timedelta]]()
        for piece in drawn:
            first = -(-(piece.begin - begin).total_seconds() // step)
            last = (piece.end - begin).total_seconds() // step
            after = [timedelta(seconds=number * step) for number in range(int(first), int(last) + 1)]
            found += [(self.place(begin + it), it) for it in after]
        return [
            it for it, before in zip(found, [None, *found], strict=False) if before is None or it[0] - before[0] > 0.05
        ]


def _gaps(at: Sequence[datetime]) -> frozenset[int]:
    """Return after which of the moments follows a gap."""
    lengths = [later - earlier for earlier, later in pairwise(at)]
    rest, gaps = sum(lengths, timedelta(0)), list[int]()
    longest_first = sorted(range(len(lengths)), key=lambda place: lengths[place], reverse=True)
    for count, place in enumerate(longest_first[:MOST_GAPS], 1):
        rest -= lengths[place]
        # Several gaps may each be as long as the others, so what is left without them is what counts.
        if rest > timedelta(0) and lengths[place] > MUCH_LONGER * rest:
            gaps = longest_first[:count]
    return frozenset(gaps)


def _pieces(at: Sequence[datetime], gaps: frozenset[int]) -> list[Piece]:
    rest = sum((at[i + 1] - at[i] for i in range(len(at) - 1) if i not in gaps), timedelta(0))
    width = 1 - GAP_WIDTH * len(gaps)
    made, left = list[Piece](), 0.0
    for i in range(len(at) - 1):
        share = GAP_WIDTH if i in gaps else width * ((at[i + 1] - at[i]) / rest)
        made.append(Piece(at[i], at[i + 1], left, left + share, i in gaps))
        left += share
    return made


def _step(least: float) -> float:
    return next((step for step in _STEPS if step >= least), _DAY * max(1, round(least / _DAY)))
