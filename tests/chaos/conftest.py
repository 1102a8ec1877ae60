"""Servers that these tests have for themselves, for they count what is in them."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from lockstitch.dev import SERVER_SETTINGS, temporal_binary
from lockstitch.starter.contract import SEARCH_ATTRIBUTES
from lockstitch.starter.payloads import data_converter


@pytest.fixture(scope="module")
async def temporal() -> AsyncIterator[Client]:
    """A Temporal dev server in which nothing is but the runs of one module."""
    settings = [word for setting in SERVER_SETTINGS for word in ("--dynamic-config-value", setting)]
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[*settings, "--log-level", "never"],
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with environment:
        yield environment.client
