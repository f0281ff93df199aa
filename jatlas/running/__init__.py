"""States that grow: charts or rows join one at a time.

Each module has the same four verbs: `empty`, `add`, `combine`, `value`.
"""

from jatlas.running import atlas, cka, consensus, spread

__all__ = ["atlas", "cka", "consensus", "spread"]
