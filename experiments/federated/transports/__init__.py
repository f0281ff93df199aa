"""How messages go between clients and server: by files, or by jax.distributed."""
