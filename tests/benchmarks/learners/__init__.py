"""Fake tools that learn, for the tables of quality and of training."""
