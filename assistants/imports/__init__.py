"""Takes in assistants, threads and messages that people saved from another server that speaks the Assistants API."""
