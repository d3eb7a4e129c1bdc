"""Classifact beside what a user would take instead: one program a contestant, interleaved rounds, one table."""
