"""Eigenvalues and singular values, with derivatives that stay finite."""
