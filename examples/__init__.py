"""Examples that run: `lockstitch demo` uses them, and so may you."""
