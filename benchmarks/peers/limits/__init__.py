"""Bare matrix products: what this machine can do at most, by the best kernel found."""
