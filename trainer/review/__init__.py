"""Rows that a person should look at: those that the model gets wrong, and those whose label may be wrong."""
