"""The network: an encoder found and given a head, its layers, adapters, and dropout for a CPU."""
