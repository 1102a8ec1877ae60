"""Turns of a language model: any OpenAI-compatible endpoint, or the offline model."""
