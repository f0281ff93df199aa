"""Functions of all pairs of rows, a part of the (N, N) pairs at a time."""
