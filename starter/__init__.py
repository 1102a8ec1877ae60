"""What a backend service imports to start and follow runs."""
