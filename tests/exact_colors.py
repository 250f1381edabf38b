"""R'G'B' by the standards' formulas in floating point, the oracle for conversions."""

import numpy as np

from camhd_access.decoding.pixels import LUMA_WEIGHTS


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
