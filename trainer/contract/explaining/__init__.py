"""Which words a label rests on: asked of any model that gives logits, the scorer's or torch's."""
