"""Programs that were compiled are kept for the next run."""

import jax
import platformdirs


def keep_compiled() -> None:
    """Keep compiled programs in the user's cache folder."""
    folder = platformdirs.user_cache_path("jatlas") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
