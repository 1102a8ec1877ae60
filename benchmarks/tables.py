"""Reports: targets and tables, on a screen and as Markdown."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """One target and what was measured."""

    name: str
    measured: float
    bound: Literal["at most", "at least"]
    limit: float

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit


Rows = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the report."""

    title: str
    columns: tuple[str, ...]
    rows: Rows


def targets_section(targets: Sequence[Target]) -> Section:
    """Return the table of targets."""
    rows = [
        (it.name, f"{it.bound} {it.limit:g}", f"{it.measured:.3g}", "yes" if it.met else "**no**") for it in targets
    ]
    return Section("Targets", ("what", "target", "measured", "met"), rows)


def show(sections: Sequence[Section], console: Console) -> None:
    """Print a report."""
    for section in sections:
        table = Table(*section.columns, title=section.title, title_justify="left", title_style="bold")
        for row in section.rows:
            table.add_row(*(_coloured(cell) for cell in row))
        console.print(table)


def _coloured(cell: str) -> str:
    return {"yes": "[green]yes[/]", "**no**": "[red]no[/]"}.get(cell, cell)


def as_markdown(title: str, facts: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """Return a report as Markdown."""
    return "\n".join(_markdown_lines(title, facts, sections))


def _markdown_lines(title: str, facts: Mapping[str, Any], sections: Sequence[Section]) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    yield ", ".join(f"{name}: {value}" for name, value in facts.items()) + "."
    for section in sections:
        yield f"\n## {section.title}\n"
        yield f"| {' | '.join(section.columns)} |"
        yield f"|{'---|' * len(section.columns)}"
        for row in section.rows:
            yield f"| {' | '.join(row)} |"
    yield ""


def environment(quick: bool, more: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """Return what numbers depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "sizes": "quick" if quick else "full",
        "machine": f"{os.cpu_count()} shared cores, everything on it",
        **more,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
