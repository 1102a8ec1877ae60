"""A decision link on the server that `lockstitch serve` runs, with the settings that worker and server share."""

import httpx2


async def test_a_person_approves_by_link(stack, starter, refund, links):
    link = links.url(links.make(refund.id, refund.run_id, refund.call_id, refund.deadline))
    async with httpx2.AsyncClient(trust_env=False) as browser:
        opened = await browser.get(link)
        pressed = await browser.post(link, data={"action": "approve", "by": "ada"})
        again = await browser.post(link, data={"action": "deny"})
    result = await starter.result(refund.run_id)

    assert [answer.status_code for answer in (opened, pressed, again)] == [200, 200, 409]
    assert "&quot;order&quot;: 17" in opened.text
    assert (result.status, result.tool_calls[0].outcome) == ("completed", "succeeded")
    logged = "".join((stack.data_dir / f"{name}.log").read_text() for name in ("server", "worker"))
    assert link.rsplit("/", 1)[1] not in logged
