"""Functions of all pairs of rows, some pairs at a time."""
