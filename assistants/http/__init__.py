"""The Assistants API over HTTP."""
