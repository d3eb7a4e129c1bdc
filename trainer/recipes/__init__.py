"""A recipe: all that a run is, from YAML to frozen dataclasses."""
