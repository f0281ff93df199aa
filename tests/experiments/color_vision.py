"""How colors look to readers who see them differently, and how far apart they are."""

from itertools import combinations

import numpy as np

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(color: str) -> np.ndarray:
    """(3,), linear RGB of "#rrggbb"."""
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(color: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    low, high = sorted(
        float(np.array([0.2126, 0.7152, 0.0722]) @ linear(c)) for c in (color, other)
    )
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """(3,), CIELAB under D65 of linear RGB."""
    xyz = _XYZ @ rgb.clip(0, 1) / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one: np.ndarray, two: np.ndarray) -> float:
    """The distance of two CIELAB colors, as Sharma et al. (2005) write it."""
    chroma = np.mean([np.hypot(*one[1:]), np.hypot(*two[1:])])
    g = 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25**7)))
    (l1, a1, b1), (l2, a2, b2) = (c * [1, 1 + g, 1] for c in (one, two))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = 0.0 if grey else (h2 - h1 + 180) % 360 - 180
    hue = h1 + h2 if grey else (h1 + turn / 2) % 360
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    cosines = np.cos(np.radians([hue - 30, 2 * hue, 3 * hue + 6, 4 * hue - 63]))
    t = 1 + np.array([-0.17, 0.24, 0.32, -0.20]) @ cosines
    middle = (lightness - 50) ** 2
    x = (l2 - l1) / (1 + 0.015 * middle / np.sqrt(20 + middle))
    y = (c2 - c1) / (1 + 0.045 * chroma)
    z = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    blue = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = -2 * np.sin(np.radians(2 * blue))
    rotation *= np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt(x * x + y * y + z * z + rotation * y * z))


def nearest(colors) -> dict[str, float]:
    """The least distance of two of these colors, by vision."""
    seen = {
        name: [lab(matrix @ linear(c)) for c in colors]
        for name, matrix in VISIONS.items()
    }
    return {
        name: min(ciede2000(*pair) for pair in combinations(of, 2))
        for name, of in seen.items()
    }
