"""What metrics are made of: how they are counted, bounded and exposed. `telemetry` says which there are."""
