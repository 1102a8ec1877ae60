"""A browser, and pages in it that complain of nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from lockstitch.tests.chromium import started_chromium


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with started_chromium() as started:
        yield started


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Open a page in a profile of its own; whatever the browser complains about fails the test at its end."""
    complaints: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_it(url: str, **options: Any) -> Page:
            profile = await browser.new_context(**options)
            stack.push_async_callback(profile.close)
            page = await profile.new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(url)
            return page

        yield open_it
    # A page that asks for a key says so with its status, which the browser mentions.
    assert [complaint for complaint in complaints if "401 (Unauthorized)" not in complaint] == []
