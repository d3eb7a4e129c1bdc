"""Half precision for GPUs, and its padding-free form."""
