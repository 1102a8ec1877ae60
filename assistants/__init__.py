"""The Assistants API, embedded: objects, store, model turns and the HTTP server."""
