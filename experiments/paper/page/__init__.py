"""The page of a run, one file."""
