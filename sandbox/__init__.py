"""Running code that nobody has read: confined, limited, and never without confinement."""
