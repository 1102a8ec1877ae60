"""Text as vectors, so that passages are found by their meaning."""
