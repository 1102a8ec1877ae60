"""Turns of a language model: any OpenAI-compatible endpoint, a small local model, or the offline model."""
