"""The shared width, resolution and saving of all pictures.

Everything is drawn on `Figure` objects of its own, without pyplot: nothing is shared
between threads, and nothing is left open.
"""

from pathlib import Path

from matplotlib.figure import Figure

from experiments.data import storage

WIDTH = 8.0  # inches: at 150 dots, 1200 pixels, which README shows at about 900
DPI = 150


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG in full or not at all.

    The bytes are the same every time.
    """
    storage.write(
        path,
        lambda stream: figure.savefig(
            stream, format="png", dpi=DPI, metadata={"Software": None}
        ),
    )
    # Laid out once more, from where it is now, a figure would move by some pixels.
    figure.set_layout_engine("none")
