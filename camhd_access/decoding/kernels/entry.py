"""The function of the machine code: one task."""

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.frame import decode
from camhd_access.decoding.kernels.machine import kernel, load_i64
from camhd_access.decoding.kernels.planes import convert
from camhd_access.decoding.kernels.sums import add_images

__all__ = ["perform"]


@kernel
def perform(p: int) -> int:
    """Do the task of the parameters at `p`; returns 0, or what `frame.decode` returns."""
    if load_i64(p, at.TASK) == at.CONVERT:
        convert(p)
        return 0
    if load_i64(p, at.TASK) == at.ADD:
        add_images(p)
        return 0
    return decode(p)
