"""Files of other formats that people try to open, recognised by their first bytes ("magic numbers").

"Not a QuickTime movie" alone does not help a user who opens a MKV file, or a login page in place of a movie.
"""

import re

__all__ = ["OTHER_CODECS", "name_format"]

_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif")

_REWRAP = "`ffmpeg -i FILE -c copy NEW.mov` converts it to a QuickTime movie"

_MAGIC: tuple[tuple[str, str], ...] = (
    (r"\x06\x0e\x2b\x34", f"MXF; {_REWRAP}"),
    (
        r"\x1a\x45\xdf\xa3",
        f"Matroska (MKV, WebM); {_REWRAP}",
    ),
    (r"\x1f\x8b", "gzip; unpack it first"),
    (r"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed; unpack it first"),
    (r"PK\x03\x04", "a ZIP archive; unpack it first"),
    (
        r"(?i:\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml|!--))",
        "a web page (HTML), probably a login or an error page",
    ),
    (
        r"\x00?\x00\x00\x01[\x09\x27\x47\x67]",
        "H.264 without a container; `ffmpeg -i FILE -c copy NEW.mov` gives it one",
    ),
    (r"RIFF....AVI ", "AVI"),
    (r"\x00\x00\x01\xba", "an MPEG stream"),
    (r"\x89PNG|\xff\xd8\xff|GIF8|II\x2a\x00|MM\x00\x2a", "a still picture"),
    (r"\x89HDF|CDF[\x01\x02\x05]", "HDF5 or netCDF"),
    (r"%PDF", "PDF"),
)

OTHER_CODECS = {
    "aprn": "ProRes RAW",
    "aprh": "ProRes RAW HQ",
    **dict.fromkeys(("ai55", "ai15"), "AVC-Intra"),
    **dict.fromkeys(("AVdn", "AVdh"), "DNxHD"),
    **dict.fromkeys(("jpeg", "mjpa", "mjpb"), "Motion JPEG"),
    "mp4v": "MPEG-4 Visual",
    "av01": "AV1",
}
"""Names of codecs that are not read, by the four characters of the sample description."""


def name_format(head: bytes) -> str | None:
    """Name of the format of a file that begins with `head`, if it is known and not QuickTime."""
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return "HEIC, still pictures"
    known = ((re.compile(magic.encode(), re.DOTALL), name) for magic, name in _MAGIC)
    return next((name for magic, name in known if magic.match(head)), None)
