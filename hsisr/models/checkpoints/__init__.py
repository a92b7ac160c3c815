"""The papers' own checkpoints: which there are, and how they are read."""
