"""The kinds of coordinates, and which options each has."""

from pathlib import Path
from typing import NamedTuple

from jatlas._src import arrays
from jatlas.files.maps import SHRINKAGE
from jatlas.files.recipe import check_number, check_shrinkage
from jatlas.merging.relative import SIMILARITIES

RELATIVE, NYSTROEM, CONSENSUS, AUTO = "relative", "nystroem", "consensus", "auto"
PROCRUSTES = "procrustes"
KINDS = (RELATIVE, NYSTROEM, CONSENSUS, PROCRUSTES, AUTO)

ANCHORS = "shared:256"


class Kind(NamedTuple):
    """A kind of coordinates with its options.

    Attributes:
        coordinates: one of `KINDS`.
        center: whether each chart's mean is taken off first.
        shrinkage: of the whitening of each chart; None if there is none.
        similarity: to the anchors.
        ridge: of consensus coordinates; None if held-out samples choose it.
        power: of the agreement, in the same way.
        features: how many coordinates of consensus or Procrustes; as many as the widest
            chart has if None.
    """

    coordinates: str = RELATIVE
    center: bool = False
    shrinkage: float | None = None
    similarity: str = "cosine"
    ridge: float | None = None
    power: float | None = None
    features: int | None = None

    @property
    def is_linked(self) -> bool:
        """Whether maps are learned from linked samples, without anchors."""
        return self.coordinates in (CONSENSUS, PROCRUSTES)

    @property
    def can_grow(self) -> bool:
        """Whether a new chart can join later."""
        return self.coordinates != NYSTROEM

    @property
    def name(self) -> str:
        """As the command spells it, without --coordinates."""
        if self.shrinkage is not None:
            return f"{self.coordinates} --whiten"
        return f"{self.coordinates} --center" if self.center else self.coordinates


def checked(
    coordinates: str = RELATIVE,
    anchors: str | Path | None = None,
    similarity: str = "cosine",
    center: bool = False,
    whiten: bool = False,
    shrinkage: float | None = None,
    ridge: float | None = None,
    power: float | None = None,
    features: int | None = None,
) -> Kind:
    """The kind that these options mean.

    Raises:
        ValueError: if one is unknown, out of range, or of another kind.
    """
    if coordinates not in KINDS:
        raise ValueError(
            f"unknown coordinates {coordinates!r} (--coordinates); known are "
            f"{', '.join(KINDS)}."
        )
    if similarity not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise ValueError(f"unknown similarity {similarity!r}; known are {known}.")
    check_shrinkage(shrinkage)
    if not whiten and shrinkage is not None:
        raise ValueError(
            "shrinkage (--shrinkage) is that of the whitening: give whiten=True "
            "(--whiten) too, or leave it out."
        )
    for name, value in (("ridge", ridge), ("power", power)):
        if value is not None:
            check_number(name, value, name == "ridge")
    if features is not None:
        arrays.check_count("features (--features)", features, 1)
    if coordinates in (CONSENSUS, PROCRUSTES):
        _check_linked(coordinates, anchors, similarity, center or whiten)
    if coordinates in (RELATIVE, NYSTROEM):
        _check_relative(coordinates, ridge, power, features)
    if coordinates == PROCRUSTES:
        _check_relative(coordinates, ridge, power, None)
    if coordinates == AUTO and (center or whiten):
        raise ValueError(
            "coordinates auto tries centered and whitened charts too: leave --center "
            "and --whiten out, or give --coordinates relative or nystroem."
        )
    whitened = SHRINKAGE if whiten and shrinkage is None else shrinkage
    centered = bool(center) and not whiten  # whitening centers too
    return Kind(coordinates, centered, whitened, similarity, ridge, power, features)


def _check_linked(
    coordinates: str, anchors: str | Path | None, similarity: str, changed: bool
) -> None:
    if anchors is not None:
        raise ValueError(
            f"{coordinates} coordinates are fitted on all samples that charts share, "
            "and take no anchors: leave --anchors out, or give --coordinates relative."
        )
    if similarity != "cosine" or changed:
        raise ValueError(
            f"{coordinates} coordinates center and scale every chart by themselves, "
            "and compare with no anchors: leave --similarity, --center and --whiten "
            "out."
        )


def _check_relative(
    coordinates: str, ridge: float | None, power: float | None, features: int | None
) -> None:
    given = {"ridge": ridge, "power": power, "features": features}
    names = [f"--{name}" for name, value in given.items() if value is not None]
    if names:
        raise ValueError(
            f"{', '.join(names)}: of consensus coordinates, and these are "
            f"{coordinates}; give --coordinates consensus, or leave it out."
        )


def tried(kind: Kind) -> list[Kind]:
    """What `auto` tries: all kinds, plain, centered and whitened."""
    if kind.coordinates != AUTO:
        return [kind]
    with_anchors = Kind(RELATIVE, similarity=kind.similarity)
    kinds = [
        with_anchors._replace(coordinates=name, center=center, shrinkage=shrinkage)
        for center, shrinkage in ((False, None), (True, None), (False, SHRINKAGE))
        for name in (RELATIVE, NYSTROEM)
    ]
    kinds.sort(key=lambda one: one.coordinates != RELATIVE)
    return [*kinds, kind._replace(coordinates=CONSENSUS, similarity="cosine")]
