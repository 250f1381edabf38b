"""Everything that can go wrong with a movie or with the way to it, as one tree.

::

    CamhdError                        never raised itself: catch it to catch all
    ├── InvalidMovieError             (ValueError) the bytes are not a QuickTime movie, or a damaged one
    │   ├── MissingMoovError          the recording was not finished: no index in the file
    │   └── NotAMovieError            another format, a folder, a pipe: there are no frames to recover
    ├── UnsupportedMovieError         (NotImplementedError) legal QuickTime that is not handled
    │   └── UnsupportedCodecError     the video is not ProRes
    ├── FrameIndexError               (IndexError) the movie has no such frame
    ├── FrameDecodeError              (ValueError) one frame is damaged; the others can be read
    │   ├── NoFrameError              no frame begins where the index has one
    │   └── FrameSizeError            (InvalidMovieError) its size is not that of the movie
    └── RemoteFileError               (OSError) the way to the bytes failed
        ├── RemoteFileNotFoundError   (FileNotFoundError) the server knows no such file
        ├── RangeNotSupportedError    the server cannot send a part of the file
        ├── RemoteFileChangedError    the file is no longer the one that was opened
        └── TruncatedResponseError    fewer bytes came than were announced, at every try

Each class also inherits the built-in exception in brackets, so that code which knows nothing of us
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
    "TruncatedResponseError",
    "UnsupportedCodecError",
    "UnsupportedMovieError",
]


class CamhdError(Exception):
    """Base of all errors of this package; never raised itself."""


class InvalidMovieError(CamhdError, ValueError):
    """The bytes are not a QuickTime movie, or its index is damaged; the message names atom and offset."""


class MissingMoovError(InvalidMovieError):
    """The file has no `moov` atom: the recording was cut off before the recorder wrote the index.

    Its frames may lie there all the same: `MovieReader(url, recover=True)` looks for them.
    """


class NotAMovieError(InvalidMovieError):
    """The file is of another format, or no file at all: no frames can be recovered from it."""


class UnsupportedMovieError(CamhdError, NotImplementedError):
    """The movie is legal, but of a kind that is not handled: fragmented, or its media in another file."""


class UnsupportedCodecError(UnsupportedMovieError):
    """The video track is not Apple ProRes, or a version of it that is not known."""


class FrameIndexError(CamhdError, IndexError):
    """A frame index outside the movie."""


class FrameDecodeError(CamhdError, ValueError):
    """One frame's bytes are damaged. Nothing is concealed: no pixels come back for it."""


class NoFrameError(FrameDecodeError):
    """Other bytes lie where the index has a frame: it may be the index of another layout of the file."""


class FrameSizeError(FrameDecodeError, InvalidMovieError):
    """A frame is of another size than the movie says: one of the two is damaged."""


class RemoteFileError(CamhdError, OSError):
    """The bytes could not be had; the message names URL, range, status and the number of tries."""


class RemoteFileNotFoundError(RemoteFileError, FileNotFoundError):
    """The server answered 404 or 410."""


class RangeNotSupportedError(RemoteFileError):
    """The server sends whole files only; reading on would download the movie."""


class RemoteFileChangedError(RemoteFileError):
    """The file was replaced while it was in use. Open it again to read the new one."""


class TruncatedResponseError(RemoteFileError):
    """Every try ended before all announced bytes had come."""
