"""The experiments that prove jatlas."""
