"""A first recipe, drafted from the files: how they are written, what their columns are, and what could not be told."""
