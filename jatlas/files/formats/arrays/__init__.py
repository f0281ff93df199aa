"""What arrays in files are, before they are read."""
