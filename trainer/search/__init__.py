"""Hyperparameter search: many runs of one recipe, the best of which is kept."""
