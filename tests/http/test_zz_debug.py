from lockstitch.assistants.store import run_commands, threads, runs
async def fresh(server, label):
    t = await server.database.write(lambda c: threads.create(c, {}, 1))
    try:
        await server.database.read(lambda c: threads.get(c, t["id"])); print(label, "ok")
    except Exception as e:
        print(label, "STALE", e, server.database._reader.pool)
async def test_dbg(client, server, run, read_stream, http):
    await fresh(server, "0")
    await server.database.read(lambda connection: run_commands.undelivered(connection, older_than_seconds=0))
    await fresh(server, "undelivered")
    await server.database.read(lambda connection: run_commands.start_waits(connection, run.id))
    await fresh(server, "waits")
    await client.beta.threads.delete(run.thread_id)
    await fresh(server, "1")
    frames = await read_stream(f"/v1/runs/{run.id}/events")
    await fresh(server, "2")
    assert 0
