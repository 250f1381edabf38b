"""R'G'B' by the standards' formulas in floating point, the oracle for conversions."""

from fractions import Fraction

import numpy as np

from camhd_access.decoding.pixels import LUMA_WEIGHTS

LOCATIONS = {0: (0, Fraction(1, 2)), 1: (Fraction(1, 2), Fraction(1, 2)), 2: (0, 0), 3: (Fraction(1, 2), 0),
             4: (0, 1), 5: (Fraction(1, 2), 1)}  # fmt: skip
"""Column and line of the first chroma sample (ITU-T H.273, chroma sample location type)."""


def upsample(chroma, width):
    """Chroma at full width by definition: even columns as coded, odd ones the mean of both sides."""
    columns = np.arange(width) / 2
    return np.array([np.interp(columns, np.arange(chroma.shape[1]), row) for row in chroma.astype(float)])


def exact_rgb(planes, matrix, full_scale):
    """R'G'B' in float64, before rounding, from the definition in ITU-R BT.709 and its like."""
    width = planes.y.shape[1]
    kr, kb = LUMA_WEIGHTS[matrix]
    cb, cr = (c.astype(float) if c.shape[1] == width else upsample(c, width) for c in (planes.cb, planes.cr))
    y = (planes.y - 64.0) / 876
    r = y + 2 * (1 - kr) * (cr - 512) / 896
    b = y + 2 * (1 - kb) * (cb - 512) / 896
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.stack([r, g, b], axis=-1).clip(0, 1) * full_scale


def interpolate(values, positions):
    """Values along the first axis at fractional positions; beyond the ends the last ones."""
    rows = []
    for position in positions:
        k = position.numerator // position.denominator
        weight = float(position - k)
        first, second = (values[min(max(k + i, 0), len(values) - 1)] for i in (0, 1))
        rows.append(first * (1 - weight) + second * weight)
    return np.array(rows)


def exact_inter_rgb(frame, location, full_scale):
    """R'G'B' of a frame of H.264 or HEVC, before rounding."""
    bit_depth = 8 if frame.planes[0].dtype.itemsize == 1 else 10
    luma, cb, cr = (plane.astype(float) / 2 ** (bit_depth - 8) for plane in frame.planes)
    height, width = luma.shape
    is_tall, is_wide = (n == m for n, m in zip(cb.shape, luma.shape, strict=True))
    x0, y0 = LOCATIONS[location]
    if not is_tall and not frame.interlaced:
        lines = [(Fraction(y) - y0) / 2 for y in range(height)]
        cb, cr = (interpolate(plane, lines) for plane in (cb, cr))
    elif not is_tall:
        tall = []
        for plane in (cb, cr):
            woven = np.empty((height, plane.shape[1]))
            for parity in (0, 1):
                shift = Fraction(2 * parity - 1, 4) if y0 == Fraction(1, 2) else 0
                lines = [(Fraction(y) - y0 - shift) / 2 for y in range(height // 2)]
                woven[parity::2] = interpolate(plane[parity::2], lines)
            tall.append(woven)
        cb, cr = tall
    if not is_wide:
        columns = [(Fraction(x) - x0) / 2 for x in range(width)]
        cb, cr = (interpolate(plane.T, columns).T for plane in (cb, cr))
    top = 255 * 1023 / 1020 if bit_depth == 10 else 255.0
    black, span, chroma_span = (0, top, top) if frame.full_range else (16, 219, 224)
    y, b, r = (luma - black) / span, (cb - 128) / chroma_span, (cr - 128) / chroma_span
    red, blue = LUMA_WEIGHTS[frame.matrix]
    green = 1 - red - blue
    rgb = np.stack(
        [
            y + 2 * (1 - red) * r,
            y - 2 * (1 - red) * red / green * r - 2 * (1 - blue) * blue / green * b,
            y + 2 * (1 - blue) * b,
        ],
        axis=-1,
    )
    return rgb.clip(0, 1) * full_scale
