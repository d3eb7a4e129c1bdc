"""Export: the best checkpoint of a run to a bundle, with proof that it is the same classifier."""
