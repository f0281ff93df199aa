"""Files of embeddings compared."""
