"""Inputs to windows of records, in constant memory."""
