"""Recommended bands: the few bands that a selection method would keep, in the reference and in a super-resolved image.

If a result is as good as the reference for later analysis, both lead to the same bands. There are two methods:
neighbourhood grouping after Wang, Li and Li (A Fast Neighborhood Grouping Method for Hyperspectral Band Selection, IEEE
TGRS 2021), and a greedy baseline of entropy and correlation.
"""

from collections.abc import Callable

import numpy as np

from hsisr.errors import HsisrError

#: Most bands that are recommended; of few bands, half are.
MOST_BANDS = 12
#: Most pixels that decide, over all scenes. They lie on a regular grid.
MOST_PIXELS = 1 << 16
#: Nearest neighbours that define a band's density: the paper's k for Indian Pines.
NEIGHBOURS = 2
#: Rounds in which group borders move: the limit of the published program.
ROUNDS = 5
#: Grey levels of the histograms for entropy.
LEVELS = 256


def sample(cube: np.ndarray, scenes: int = 1, mask: np.ndarray | None = None) -> np.ndarray:
    """Valid pixels of a cube (B, H, W) on a regular grid, (B, n).

    scenes: how many cubes share MOST_PIXELS. mask: (H, W), True where a pixel is valid; None: all are.
    """
    step = int(np.ceil(np.sqrt(cube[0].size * scenes / MOST_PIXELS)))
    grid = (slice(None, None, step),) * 2
    return cube[:, *grid].reshape(len(cube), -1) if mask is None else cube[:, *grid][:, mask[grid]]


def count_for(bands: int) -> int:
    """How many of `bands` bands are recommended."""
    return max(1, min(MOST_BANDS, bands // 2))


def neighbourhood_grouping(pixels: np.ndarray, count: int) -> list[int]:
    """Bands recommended by neighbourhood grouping, 0-based, rising. pixels: (B, n).

    Bands are cut into `count` groups of neighbours, first of equal size. Then, for a few rounds, each border moves to
    the place where bands lie nearest to the middle bands of their groups (Euclidean distance). Each group gives the
    band with the largest product of local density and entropy. Density: sum over the NEIGHBOURS nearest bands of the
    group of exp(-distance / (1 + neighbours in common)), scaled to 0..1 within the group; distances in units of their
    mean. A group of at most NEIGHBOURS bands gives its band of largest entropy.
    Raises HsisrError for a count that is not in 1..B, or values that are not finite.
    """
    _check(pixels, count)
    distances, information = _distances(pixels), entropy(pixels)
    borders = _groups(distances, count)
    chosen = []
    for start, stop in zip(borders[:-1], borders[1:], strict=True):
        weight = information[start:stop]
        if stop - start > NEIGHBOURS:
            weight = weight * _density(distances[start:stop, start:stop])
        chosen.append(int(start + np.argmax(weight)))
    return chosen


def entropy_and_correlation(pixels: np.ndarray, count: int) -> list[int]:
    """The baseline: add bands one by one, each with the largest entropy times (1 - largest |r| with a chosen band).

    pixels: (B, n). count: number of bands. Returns 0-based numbers, rising. Errors as `neighbourhood_grouping`.
    """
    _check(pixels, count)
    information = entropy(pixels)
    correlation = np.abs(_correlation(pixels))
    chosen = [int(np.argmax(information))]
    while len(chosen) < count:
        weight = information * (1 - correlation[chosen].max(axis=0)) + 1e-12
        weight[chosen] = -1
        chosen.append(int(np.argmax(weight)))
    return sorted(chosen)


#: Name in results files -> method.
METHODS: dict[str, Callable[[np.ndarray, int], list[int]]] = {
    "neighbourhood_grouping": neighbourhood_grouping,
    "entropy_and_correlation": entropy_and_correlation,
}


def recommend(pixels: np.ndarray) -> dict[str, list[int]]:
    """Method -> recommended bands of an image, 0-based, rising. pixels: (B, n), see `sample`."""
    return {name: method(pixels, count_for(len(pixels))) for name, method in METHODS.items()}


def overlap(chosen: list[int], reference: list[int]) -> float:
    """Share of the bands in `reference` that are also in `chosen`, 0 to 1."""
    return len(set(chosen) & set(reference)) / len(reference)


def spectral_distance(chosen: list[int], reference: list[int], wavelengths_nm: np.ndarray | None) -> float:
    """Mean distance between the bands of two equally large sets, paired in order of wavelength: 0 for equal sets.

    It is in nanometres, or in band numbers if wavelengths_nm is None. chosen, reference: band numbers from 0.
    """
    positions = [
        np.sort(np.asarray(bands, float) if wavelengths_nm is None else np.asarray(wavelengths_nm, float)[bands])
        for bands in (chosen, reference)
    ]
    return float(np.abs(positions[0] - positions[1]).mean())


def entropy(pixels: np.ndarray) -> np.ndarray:
    """(B,) Shannon entropy of each band, bits, from histograms of LEVELS levels over the whole image's range.

    The range ends at percentiles 0.1 and 99.9 of all values, so that single pixels do not set it.
    """
    low, high = np.percentile(pixels, [0.1, 99.9])
    levels = np.clip((pixels - low) * (LEVELS / max(high - low, 1e-12)), 0, LEVELS - 1).astype(np.int64)
    found = np.empty(len(pixels))
    for band, values in enumerate(levels):
        share = np.bincount(values, minlength=LEVELS) / values.size
        share = share[share > 0]
        found[band] = -np.sum(share * np.log2(share))
    return np.maximum(found, 0)


def _check(pixels: np.ndarray, count: int) -> None:
    if pixels.ndim != 2 or not 1 <= count <= len(pixels):
        raise HsisrError(f"bands: cannot recommend {count} bands of an image {pixels.shape}; expected 1 to its bands")
    if not np.isfinite(pixels).all():
        raise HsisrError("bands: the image holds NaN or infinity; no bands can be recommended")


def _distances(pixels: np.ndarray) -> np.ndarray:
    """(B, B) Euclidean distances between bands, in units of their mean."""
    pixels = pixels.astype(np.float64)
    products = pixels @ pixels.T
    norms = np.diag(products)
    distances = np.sqrt(np.maximum(norms[:, None] + norms[None] - 2 * products, 0))
    np.fill_diagonal(distances, 0)
    mean = distances.mean()
    return distances / mean if mean > 0 else distances


def _correlation(pixels: np.ndarray) -> np.ndarray:
    """(B, B) Pearson's r between bands; 0 if one of the two is constant."""
    centred = pixels - pixels.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = np.sqrt((centred**2).sum(axis=1))
    scaled = np.divide(centred, spread[:, None], out=np.zeros_like(centred), where=spread[:, None] > 0)
    return scaled @ scaled.T


def _groups(distances: np.ndarray, count: int) -> list[int]:
    """Borders of `count` groups of neighbouring bands, from 0 to B."""
    bands = len(distances)
    borders = np.linspace(0, bands, count + 1).round().astype(int)
    for _ in range(ROUNDS):
        middles = (borders[:-1] + borders[1:] - 1) // 2
        moved = borders.copy()
        for border, (left, right) in enumerate(zip(middles[:-1], middles[1:], strict=True), start=1):
            between = np.arange(left + 1, right + 1)
            # cost of a border before each of these bands: bands in front of it belong to the left middle
            to_left = np.concatenate([[0], np.cumsum(distances[left, between])[:-1]])
            to_right = np.cumsum(distances[right, between][::-1])[::-1]
            moved[border] = between[int(np.argmin(to_left + to_right))]
        if (moved == borders).all():
            break
        borders = moved
    return borders.tolist()


def _density(distances: np.ndarray) -> np.ndarray:
    """Local density of the bands of a group, 0..1."""
    apart = distances + np.where(np.eye(len(distances), dtype=bool), np.inf, 0)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :NEIGHBOURS]
    member = np.zeros(distances.shape)
    np.put_along_axis(member, nearest, 1, axis=1)
    shared = member @ member.T
    density = np.exp(-np.take_along_axis(distances, nearest, 1) / (np.take_along_axis(shared, nearest, 1) + 1)).sum(1)
    spread = np.ptp(density)
    return (density - density.min()) / spread if spread > 0 else np.ones_like(density)
