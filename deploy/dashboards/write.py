"""Writes the dashboards into the chart, as JSON that Grafana loads: ``make dashboards`` runs it."""

import json
from pathlib import Path

from lockstitch.deploy.dashboards.escalations import ESCALATIONS
from lockstitch.deploy.dashboards.grafana import Dashboard
from lockstitch.deploy.dashboards.http_api import HTTP_API
from lockstitch.deploy.dashboards.runs import RUNS
from lockstitch.deploy.dashboards.tools import TOOLS
from lockstitch.deploy.dashboards.workers import WORKERS

DASHBOARDS = (RUNS, TOOLS, ESCALATIONS, WORKERS, HTTP_API)
FOLDER = Path(__file__).parents[1] / "helm" / "dashboards"


def text_of(dashboard: Dashboard) -> str:
    """Return what stands in the dashboard's file."""
    return json.dumps(dashboard.json(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.slug}.json").write_text(text_of(dashboard))


if __name__ == "__main__":
    main()
