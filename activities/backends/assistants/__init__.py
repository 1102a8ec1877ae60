"""Runs of another server that speaks the Assistants API; `backend` says what they promise."""
