"""A Temporal dev server, set up as `lockstitch dev` sets it up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from lockstitch.dev import SERVER_SETTINGS, temporal_binary
from lockstitch.starter.contract import SEARCH_ATTRIBUTES
from lockstitch.starter.payloads import data_converter


@asynccontextmanager
async def started_temporal(*more_settings: str) -> AsyncIterator[Client]:
    """Start a server in which nothing is, for as long as the ``async with`` lasts."""
    settings = [word for setting in (*SERVER_SETTINGS, *more_settings) for word in ("--dynamic-config-value", setting)]
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[*settings, "--log-level", "never"],
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with environment:
        yield environment.client
