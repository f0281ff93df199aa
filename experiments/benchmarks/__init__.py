"""What jatlas costs: its jobs beside references, on the same arrays."""
