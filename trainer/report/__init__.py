"""One page on a run, for a person who did not train it: what is known, what is not, and whether to use the model."""
