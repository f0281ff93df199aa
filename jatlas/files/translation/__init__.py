"""Files of one model's rows, translated into another model's space."""
