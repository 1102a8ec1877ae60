"""The operator's page on the server that `lockstitch serve` runs, with keys that the command line makes."""

import json

import httpx2
import pytest

from lockstitch.tests.command_line import lockstitch
from lockstitch.tests.console_desk import Reader


async def test_the_console_shows_a_run_and_links_into_the_temporal_ui(stack, refund):
    async with httpx2.AsyncClient(base_url=stack.server_url, trust_env=False) as http:
        page = Reader((await http.get(f"/console/runs/{refund.run_id}")).text)

    assert "refund_order" in page.seen
    assert stack.workflow_url(refund.run_id) in page.links


@pytest.mark.long
async def test_an_operators_key_opens_the_console_and_another_does_not(own_stack, asked_for):
    async with own_stack() as stack:
        database = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{stack.data_dir / 'lockstitch.db'}"}
        made = {}
        for options in ((), ("--operator",)):
            code, out, err = await lockstitch("keys", "create", "--project", "acme", "--json", *options, **database)
            assert (code, err) == (0, "")
            made[bool(options)] = json.loads(out)
        await asked_for(stack, made[False]["key"])
        async with httpx2.AsyncClient(base_url=stack.server_url, trust_env=False) as http:
            asking = await http.get("/console")
            form = Reader(asking.text).form("/sign-in")["fields"]
            sent = [{**form, "name": "Ada", "key": made[operator]["key"]} for operator in (False, True)]
            answers = [await http.post("/console/sign-in", data=each) for each in sent]
            opened = await http.get("/console")
        code, listed, _ = await lockstitch("keys", "list", **database)

    assert [made[operator]["operator"] for operator in (False, True)] == [False, True]
    assert (asking.status_code, [answer.status_code for answer in answers], opened.status_code) == (
        401,
        [403, 303],
        200,
    )
    assert [line.split().count("yes") for line in listed.splitlines()[-2:]] == [0, 1]
    logged = (stack.data_dir / "server.log").read_text()
    assert "console_signed_in" in logged
    assert made[True]["key"] not in logged
