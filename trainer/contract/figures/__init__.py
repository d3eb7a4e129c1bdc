"""Figures of a classifier: metrics, their intervals, and the files they are kept in."""
