"""The commands `python -m jatlas`."""
