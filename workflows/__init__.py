"""Deterministic code only: the run as a Temporal workflow."""
