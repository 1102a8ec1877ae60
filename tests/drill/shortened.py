"""The chart's rules with time running faster, so that a drill of minutes meets what takes hours.

Every duration is divided: `for`, the ranges of selectors, offsets, and thresholds on ages (the numbers that a metric
whose name ends in `_age_seconds` is compared with). Nothing else is changed: thresholds on shares, counts and measured
lags are those of the chart.
"""

import re
from pathlib import Path
from typing import Any

import yaml

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")
_RANGE = re.compile(r"(\[|\boffset )(\d+[smhd])")
_AGE = re.compile(r"(_age_seconds\S*\)* > )(\d+)")


def shortened_rules(source: Path, target: Path, factor: int) -> list[Path]:
    """Write every rule file of ``source`` into ``target`` with its durations divided by ``factor``."""
    written = []
    for path in sorted(source.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            for rule in group["rules"]:
                _shorten(rule, factor)
        written.append(target / path.name)
        written[-1].write_text(yaml.safe_dump(content, sort_keys=False))
    return written


def shortened_expression(expression: str, factor: int) -> str:
    """Return an expression with its durations divided by ``factor``."""
    text = _RANGE.sub(lambda found: found[1] + _divided(found[2], factor), expression)
    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / factor:g}", text)


def _shorten(rule: dict[str, Any], factor: int) -> None:
    rule["expr"] = shortened_expression(rule["expr"], factor)
    if "for" in rule:
        rule["for"] = _divided(rule["for"], factor)


def _divided(duration: str, factor: int) -> str:
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration!r} is not a number and one of s, m, h, d.")
    return f"{int(found[1]) * _UNITS[found[2]] * 1000 // factor}ms"
