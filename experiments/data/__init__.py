"""Data sets of images: named, read, prepared."""
