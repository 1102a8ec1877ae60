"""The operator's page in a real browser: a stuck run is found, decided about, and completes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lockstitch.tests.console_desk import Desk, charge_tool, console


@pytest.fixture
async def desk(engine) -> AsyncIterator[Desk]:
    """A console on a server without keys, and a tool that fails as long as a test leaves it so."""
    failures = ["The gateway answered 503."]
    async with engine([charge_tool(failures)]) as lockstitch, console(lockstitch) as http:
        yield Desk(lockstitch, http, failures)


def url(desk: Desk, path: str = "") -> str:
    return f"{str(desk.http.base_url).rstrip('/')}/console{path}"


async def test_an_operator_resolves_an_escalation_and_the_run_completes(desk, open_page, eventually):
    asked = await desk.stuck()
    page = await open_page(url(desk))
    link = page.locator(f"a.go[href$='{asked.id}']")

    async def is_listed() -> bool:
        await page.reload()
        return await link.count() == 1

    await eventually(is_listed)
    await link.click()
    await page.get_by_label("Output").fill("charged 17 by hand")
    await page.get_by_label("Your name").fill("Ada")
    await page.get_by_role("button", name="Answer").click()
    await page.get_by_text("answer by Ada").first.wait_for()
    result = await desk.starter.result(asked.run_id)

    assert (result.status, result.tool_calls[0].outcome) == ("completed", "answered")
    assert (result.escalations[0].decision.output, result.escalations[0].decision.by) == ("charged 17 by hand", "Ada")
    await page.reload()
    assert await page.locator("h1 + .badge").inner_text() == "completed"
    assert await page.locator("svg.picture").count() == 1
    assert await page.locator("form").count() == 0


async def test_an_operator_signs_in_with_a_key_and_lets_the_handler_be_called_again(desk, open_page):
    _, key = await desk.create_key(operator=True)
    async with console(desk.lockstitch) as http:
        await retry_after_signing_in(replace(desk, http=http), key, open_page)


async def retry_after_signing_in(desk, key, open_page):
    asked = await desk.stuck()
    page = await open_page(url(desk, f"/runs/{asked.run_id}"))
    assert "charge_card" not in await page.content()
    await page.get_by_label("Your name").fill("Grace")
    await page.get_by_label("Key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    desk.fails_with.clear()
    await page.get_by_role("button", name="Retry").click()
    await page.get_by_text("retry by Grace").first.wait_for()
    result = await desk.starter.result(asked.run_id)

    assert (result.status, result.escalations[0].decision.by) == ("completed", "Grace")
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="Sign in").wait_for()


async def test_enter_in_a_field_decides_nothing(desk, open_page):
    asked = await desk.stuck()
    page = await open_page(url(desk, f"/runs/{asked.run_id}"))
    await page.get_by_label("Your name").press("Enter")
    await page.reload()

    assert await page.get_by_role("button", name="Retry").count() == 1
    assert (await desk.starter.escalations(asked.run_id))[0].is_open


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_narrow_screen_nothing_is_cut_off_and_a_run_can_be_cancelled(desk, open_page, scheme):
    asked = await desk.stuck()
    page = await open_page(url(desk), viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360

    await page.goto(url(desk, f"/runs/{asked.run_id}"))
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.get_by_text("Cancel this run").click()
    await page.locator("details button").click()
    assert (await desk.starter.result(asked.run_id)).status == "cancelled"


async def test_a_page_that_refreshes_shows_what_has_happened_since(desk, open_page):
    asked = await desk.stuck()
    page = await open_page(url(desk, f"/runs/{asked.run_id}"))
    await page.get_by_role("link", name="Refresh every 5 s").click()
    await desk.starter.cancel(asked.run_id)

    await page.locator(".badge", has_text="cancelled").wait_for()
