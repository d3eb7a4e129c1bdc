"""Contestants that label texts with one fine-tuned checkpoint. Each file is one tool, with its variants."""
