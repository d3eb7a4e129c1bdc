"""Fake tools that train on from round to round."""
