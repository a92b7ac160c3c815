"""The papers' own checkpoints: a list of them, and how to read them."""
