"""Which row goes into which split."""
