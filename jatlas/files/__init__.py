"""Files of embeddings and of atlases: read by their format, every value checked."""
