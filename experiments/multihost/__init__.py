"""Merge, CKA and a probe over the samples of several hosts."""
