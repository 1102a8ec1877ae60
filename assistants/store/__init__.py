"""What the Assistants API remembers: tables, queries, migrations and the event log of runs.

Queries are plain functions of a connection, so that any number of them make one transaction::

    await database.write(lambda connection: runs.insert(connection, row))
"""
