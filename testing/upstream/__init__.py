"""The parts of the scripted Assistants server; `lockstitch.testing.assistants_upstream` puts them together."""
