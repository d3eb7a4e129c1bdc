"""Training: labelled rows to a run directory."""
