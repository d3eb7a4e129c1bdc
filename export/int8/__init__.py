"""Dynamic int8: which form, and its repair where it fails its gate."""
