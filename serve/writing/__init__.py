"""Scored rows to the bytes of an output, and rows that cannot be scored to their side file."""
