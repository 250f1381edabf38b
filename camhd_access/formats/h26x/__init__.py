"""H.264 and HEVC, as far as a reader of frames needs them: parameter sets, and where decoding can begin.

Pure: bytes come in, values go out. `bits` reads their variable-length numbers, `parameter_sets` what the
sample description says about the pictures, and `samples` which samples decode without earlier ones, and
which are not needed for others. The pictures are decoded by libav.
Source throughout: ITU-T H.264 and H.265; ISO/IEC 14496-15 for their storage in samples.
"""

from camhd_access.formats.h26x.parameter_sets import MAX_LATE, StreamFormat, parse_configuration
from camhd_access.formats.h26x.samples import (
    Entry,
    find_entry,
    is_disposable,
    read_parameters,
    shows_fields,
)

__all__ = [
    "MAX_LATE",
    "Entry",
    "StreamFormat",
    "find_entry",
    "is_disposable",
    "parse_configuration",
    "read_parameters",
    "shows_fields",
]
