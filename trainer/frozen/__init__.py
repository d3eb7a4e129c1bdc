"""Frozen layers at a network's start, run once for all epochs."""
