"""The exceptions of this package, as one tree.

::

    CamhdError                        base class, never raised; catch it to catch all
    ├── InvalidMovieError             (ValueError) the bytes are not a QuickTime movie, or a damaged one
    │   ├── MissingMoovError          truncated recording: the file has no index
    │   └── NotAMovieError            another format, a folder, a pipe: there are no frames to recover
    ├── UnsupportedMovieError         (NotImplementedError) valid QuickTime that is not supported
    │   └── UnsupportedCodecError     the codec of the video is not read
    ├── FrameIndexError               (IndexError) the movie has no such frame
    ├── FrameDecodeError              (ValueError) one frame is damaged; the others can be read
    │   ├── NoFrameError              there is no frame at the position in the index
    │   └── FrameSizeError            (InvalidMovieError) its size differs from that of the movie
    ├── SurveyError                   (RuntimeError) a survey ended: movie after movie failed
    └── RemoteFileError               (OSError) the bytes could not be read
        ├── RemoteFileNotFoundError   (FileNotFoundError) the server has no such file
        ├── RangeNotSupportedError    the server does not send byte ranges
        ├── RemoteFileChangedError    the file has changed since it was opened
        └── TruncatedResponseError    every response ended before its announced length

Each class also inherits the built-in exception in brackets, so that code which does not know this package
catches what it expects. Only the message goes to the constructor: exceptions must pickle, because dask
sends them between processes, and an `OSError` of two arguments prints them as "[Errno …]". Wrong arguments
of a call are plain `ValueError` or `TypeError`.
"""

__all__ = [
    "CamhdError",
    "FrameDecodeError",
    "FrameIndexError",
    "FrameSizeError",
    "InvalidMovieError",
    "MissingMoovError",
    "NoFrameError",
    "NotAMovieError",
    "RangeNotSupportedError",
    "RemoteFileChangedError",
    "RemoteFileError",
    "RemoteFileNotFoundError",
    "SurveyError",
    "TruncatedResponseError",
    "UnsupportedCodecError",
    "UnsupportedMovieError",
]


class CamhdError(Exception):
    """Base of all errors of this package; never raised."""


class InvalidMovieError(CamhdError, ValueError):
    """The bytes are not a QuickTime movie, or its index is damaged; the message names atom and offset."""


class MissingMoovError(InvalidMovieError):
    """The file has no `moov` atom: the recording was interrupted before the recorder wrote the index.

    Its frames may be intact: `MovieReader(url, recover=True)` looks for them.
    """


class NotAMovieError(InvalidMovieError):
    """The file has another format, or is not a regular file: no frames can be recovered from it."""


class UnsupportedMovieError(CamhdError, NotImplementedError):
    """The movie is valid, but of an unsupported kind, such as with its media in another file."""


class UnsupportedCodecError(UnsupportedMovieError):
    """The video track is not ProRes, H.264 or HEVC, or what is asked for does not exist in its codec."""


class FrameIndexError(CamhdError, IndexError):
    """A frame index outside the movie."""


class FrameDecodeError(CamhdError, ValueError):
    """One frame's bytes are damaged, and no pixels are returned for it.

    ProRes has no checksum: a flipped bit in a coefficient decodes to wrong pixels and cannot be detected. The
    same holds for H.264 and HEVC, unless the encoder has added checksums (HEVC: picture hash).
    """


class NoFrameError(FrameDecodeError):
    """There is no frame at the position in the index, which may belong to another layout of the file."""


class FrameSizeError(FrameDecodeError, InvalidMovieError):
    """The size of a frame differs from that of the movie: one of the two is damaged."""


class SurveyError(CamhdError, RuntimeError):
    """Many movies in a row failed because of the server or function, or two surveys shared a folder."""


class RemoteFileError(CamhdError, OSError):
    """The bytes could not be read; the message names the URL, the cause and the number of tries."""


class RemoteFileNotFoundError(RemoteFileError, FileNotFoundError):
    """The server answered 404 or 410."""


class RangeNotSupportedError(RemoteFileError):
    """The server sends whole files only, so reading a part would download the movie."""


class RemoteFileChangedError(RemoteFileError):
    """The file was replaced while it was in use. Open it again to read the new version."""


class TruncatedResponseError(RemoteFileError):
    """Every response ended before all announced bytes had arrived."""
