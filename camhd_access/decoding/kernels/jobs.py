"""A *job*: one plane of a slice, as numbers and coefficients in memory, `parameters.JOB_BYTES` each."""

from typing import Final

from camhd_access.decoding.kernels.parameters import JOB_BYTES, MAX_BLOCKS

__all__ = [
    "ADDS",
    "DAMAGE_PLACE",
    "DC",
    "END_BIT",
    "LINE_BYTES",
    "NEXT_BIT",
    "N_BLOCKS",
    "PLANE",
    "SCALE",
    "SLOT",
    "START_BYTE",
    "STOP_BYTE",
    "TARGET",
]

START_BYTE, STOP_BYTE, N_BLOCKS, PLANE, SCALE, DAMAGE_PLACE, SLOT, TARGET, LINE_BYTES, ADDS = range(10)
"""Addresses of its bytes, blocks, plane, factor of the matrix, position in the damage map, and which of the
two strips; address of its first pixel, bytes from line to line there, and what is done with pixels
(`transform.show_blocks`)."""
END_BIT, NEXT_BIT = 10, 11
"""The bit after the last 1 bit, and the bit after the DC coefficients; see `entropy.POSITION`."""
DC: Final = JOB_BYTES - 2 * MAX_BLOCKS
"""Byte of a job where the DC coefficients of its blocks begin, int16."""
