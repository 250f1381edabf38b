"""Whether a file has the order in which the frames of its movie are shown.

If ffmpeg copies a stream without times (`.h264`, `.hevc`, `.avi`), each sample gets the time at which it is
decoded. Where pictures are shown in another order, such a file does not tell which frame is which; only the
pictures themselves do.
"""

import numpy as np

from camhd_access.decoding.groups import decodes_in_order
from camhd_access.errors import UnsupportedMovieError
from camhd_access.formats.quicktime import CodedSamples
from camhd_access.movie.groups import GroupReader
from camhd_access.storage.source import ByteSource

__all__ = ["check_order"]

N_SAMPLES = 16
"""Samples that are decoded; encoders that reorder pictures do so from the first ones on."""


def check_order(source: ByteSource, coded: CodedSamples) -> None:
    """Decode the first samples of a movie whose file may lack the order of its frames.

    Raises
    ------
    UnsupportedMovieError
        Frames are shown in another order.

    Notes
    -----
    Costs nothing if the file has composition times, or the parameter sets exclude another order; else the
    samples in one request.
    """
    if not coded.may_be_out_of_order:
        return
    first = int(np.argmax(coded.is_sync))
    samples = range(first, min(first + N_SAMPLES, len(coded.rank)))
    if not decodes_in_order(coded.stream, GroupReader(source, coded).iter_bytes(samples)):
        raise UnsupportedMovieError(
            "its frames are shown in another order than they are decoded, and the file does not have it (no "
            "composition offsets, ctts), as if copied by ffmpeg from a stream without times. Encode it anew"
        )
