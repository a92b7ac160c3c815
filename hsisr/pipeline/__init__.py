"""The pipeline: a benchmark, the places of its files, and the files between its steps."""
