"""What a row means, as data in files and the one piece of code that reads it: used by training, export and scoring
alike.

Imports nothing but the standard library, numpy and tokenizers, so that scoring needs neither torch nor transformers.
"""
