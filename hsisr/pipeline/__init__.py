"""The pipeline: what a benchmark is, where its files lie, and the files between its steps."""
