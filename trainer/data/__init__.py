"""Rows: read from any file, joined, labelled, and split."""
