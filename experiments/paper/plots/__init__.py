"""The pictures of the paper's experiment."""
