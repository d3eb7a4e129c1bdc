"""What fine-tunes an encoder: rows a second, and what is learnt in that time."""
