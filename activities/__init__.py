"""Everything that a run does to the outside world."""
