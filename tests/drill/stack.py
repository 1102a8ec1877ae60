"""What the drill runs on: the stack of `lockstitch dev`, a Prometheus that scrapes it, and a receiver of webhooks."""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lockstitch.dev import DevOptions, DevStack
from lockstitch.probes import listen
from lockstitch.testing.model_endpoint import serve
from lockstitch.tests.dashboards.expressions import RULES
from lockstitch.tests.drill.prometheus import Prometheus
from lockstitch.tests.drill.shortened import shortened_rules
from lockstitch.tests.webhook_receiver import SECRET

FACTOR = 20
"""How much faster time runs for the rules."""

START_SECONDS = 180.0
"""How long a process may take to start, on a machine that has other things to do."""

_ORDER = {"order": "order 17"}


def _calling(word: str, function: str, then: str) -> list[dict[str, Any]]:
    return [
        {"when": word, "round": 0, "call": [{"name": function, "arguments": _ORDER}]},
        {"when": word, "round": 1, "say": then},
    ]


SCRIPT: list[dict[str, Any]] = [
    *_calling("look up", "look_up", "It is on its way."),
    *_calling("charge", "charge_card", "It is charged."),
    *_calling("pay back", "pay_back", "It is paid back."),
    *_calling("fax", "send_fax", "The fax is sent."),
    *_calling("ask my client", "read_screen", "That is what I see."),
    {"when": "overloaded", "say": "There you are.", "fail": {"status": 503, "message": "Overloaded", "times": 30}},
    {"say_words": 40, "delta_delay_seconds": 0.01, "delay_seconds": 0.1},
]

PRICED, UNPRICED = "scripted", "brand-new"
"""Two models: one has a price, so high that the budget is spent at once; the other has none."""


class WebhookReceiver:
    """Answers 500 until it ``works``."""

    def __init__(self) -> None:
        self.works = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one webhook."""
        await Response(status_code=204 if self.works else 500)(scope, receive, send)


class DrillStack(DevStack):
    """The three processes of `lockstitch dev` and a Prometheus, with the chart's rules in faster time."""

    def __init__(self, folder: Path, webhook_url: str) -> None:
        script = folder / "script.json"
        script.write_text(json.dumps(SCRIPT))
        environment = {
            "LOCKSTITCH_TOOLS": "lockstitch.tests.drill.handlers",
            "LOCKSTITCH_MODEL_SCRIPT": str(script),
            "LOCKSTITCH_WEBHOOK_URL": webhook_url,
            "LOCKSTITCH_WEBHOOK_SECRETS": SECRET,
            "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE": "true",
            "LOCKSTITCH_TENANT_CLASSES": "acme=gold,free-*=trial",
            "LOCKSTITCH_MODEL_PRICES": f"{PRICED}=2000/2000",
            "LOCKSTITCH_BUDGET_DOLLARS_PER_DAY": "1",
            "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": "5",
            "LOCKSTITCH_EMBEDDER": "none",
            "LOCKSTITCH_SANDBOX": "none",
        }
        super().__init__(
            DevOptions(folder, 0, 0, 0, 0, environment=environment, quiet=True, start_seconds=START_SECONDS)
        )
        listener = listen("127.0.0.1", 0, purpose="Prometheus", option="")
        self._prometheus_port = listener.getsockname()[1]
        listener.close()
        self.prometheus = Prometheus(f"http://127.0.0.1:{self._prometheus_port}")

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._start("prometheus", self._prometheus_command(), os.environ, self._prometheus_answers)
        return self

    async def stop_worker(self) -> None:
        """Stop the worker; it stays down until `start_worker`."""
        await self._worker.stop()

    async def start_worker(self) -> None:
        """Start it again and wait until it works."""
        await self._worker.start(lambda: _answers(f"{self.metrics_url}/readyz"), START_SECONDS)

    async def _prometheus_answers(self) -> bool:
        return await _answers(f"{self.prometheus.url}/-/ready")

    @property
    def _worker(self) -> Any:
        return next(process for process in self._processes if process.name == "worker")

    def _prometheus_command(self) -> list[str]:
        program = shutil.which("prometheus")
        if program is None:
            sys.exit("The drill needs Prometheus: install the package `prometheus`, or put the program on the PATH.")
        folder = self.data_dir / "prometheus"
        (folder / "rules").mkdir(parents=True)
        rules = shortened_rules(RULES, folder / "rules", FACTOR)
        scraped = {"worker": self.metrics_url, "server": self.server_url}
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": [url.removeprefix("http://")], "labels": {"namespace": "drill"}}],
                }
                for job, url in scraped.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        return [
            program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._prometheus_port}", "--log.level=warn",
        ]  # fmt: skip


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        with suppress(httpx2.TransportError):
            return (await client.get(url)).status_code == 200
    return False


@asynccontextmanager
async def drill_stack(folder: Path) -> AsyncIterator[tuple[DrillStack, WebhookReceiver]]:
    """Start everything."""
    receiver = WebhookReceiver()
    async with serve(receiver) as url, DrillStack(folder, url) as stack:
        yield stack, receiver
