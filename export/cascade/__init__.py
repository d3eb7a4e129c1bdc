"""The cascade of a bundle: a student that answers most rows without the encoder, and the proof of what that costs."""
