"""Exactly once: what a job notes while it runs, so that a killed one ends with the same bytes."""
