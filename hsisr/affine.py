"""Affine transforms: (a, b, c, d, e, f) maps (column, row) to x = a column + b row + c, y = d column + e row + f."""

from hsisr.errors import HsisrError

#: Maps (column, row), counted from the corner of the first pixel, to coordinates.
Transform = tuple[float, ...]


def chain(outer: Transform, inner: Transform) -> Transform:
    """The transform that applies `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    p, q, r, s, t, u = inner
    return (a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f)


def inverse(transform: Transform) -> Transform:
    """The inverse of `transform`. Raises HsisrError if `transform` maps an area to a line."""
    a, b, c, d, e, f = transform
    area = a * e - b * d
    if not area:
        raise HsisrError(f"transform {transform}: its pixels have no area; the georeference is damaged")
    p, q, s, t = e / area, -b / area, -d / area, a / area
    return (p, q, -(p * c + q * f), s, t, -(s * c + t * f))


def apply(transform: Transform, column: float, row: float) -> tuple[float, float]:
    """The coordinates (x, y) of a column and a row."""
    a, b, c, d, e, f = transform
    return a * column + b * row + c, d * column + e * row + f


def finer(transform: Transform, factor: float) -> Transform:
    """The transform of a grid with the same corner, whose pixels are `factor` times finer."""
    return chain(transform, (1 / factor, 0.0, 0.0, 0.0, 1 / factor, 0.0))
