"""`write_clip`: frames to a file whose format is chosen by its suffix."""

from typing import TYPE_CHECKING, cast

from tqdm.auto import tqdm

from camhd_access.movie.checks import check_reader
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, FrameSelection
from camhd_access.output.clip.layout import ClipLayout, plan_clip
from camhd_access.storage.output_files import Target, open_target, suffix_of
from camhd_access.storage.same_file import check_not_source
from camhd_access.urls import is_place, options_of, redact_url, text_of

if TYPE_CHECKING:
    from camhd_access.output.film_writers import Codec

__all__ = ["check_clip", "write_clip"]

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((".mov", ".qt"), ()),
    ".mp4": ("codec", "fps", "width", "deinterlace"),
    **dict.fromkeys((".gif", ".webp"), ("fps", "width", "deinterlace")),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), ("width", "deinterlace")),
}
"""Options by suffix."""


def write_clip(
    reader: MovieReader,
    frames: FrameSelection,
    target: Target,
    *,
    codec: "Codec | None" = None,
    fps: float | None = None,
    width: int | None = None,
    deinterlace: Deinterlace = None,
    progress: bool = True,
) -> None:
    """Write some frames of a movie to a file.

    Parameters
    ----------
    frames
        Frame indices: a number, a slice, a sequence of numbers, or a mask.
    target
        A path, a URL that fsspec can write to, or a binary file. The suffix decides the format. `.mov`: a
        QuickTime movie of the same samples, not re-encoded, with times and timecode; also for a binary file.
        `.mp4`, `.gif`, `.webp`: a film for viewing. `.png`, `.tif`, `.jpg`: an image of each frame, with a
        pattern for the index in the movie, as in `frame_{frame:06d}.png`.
    codec
        For `.mp4`: "h264" or None, which plays everywhere; or "h265", which takes half the bytes.
    fps
        Frames per second of a film, at least 0.002, in a GIF at most 50; None for the recorded rate, or for
        10 if the frames are far apart.
    width
        Wider frames of a film, or images, are shrunk to this many pixels; None keeps their width.
    deinterlace
        "linear" for films and images without combing, made of the field shown first (see `MovieReader.read`).
    progress
        Show a progress bar.

    Raises
    ------
    FrameIndexError
        The movie has no such frame.
    FrameDecodeError
        A frame is damaged and has to be decoded. In `.mov` it is copied unchanged.
    TypeError
        `reader` is not a `MovieReader`.
    ValueError
        No frames; for `.mov`, frames out of order; an unknown suffix, or the name of the movie itself;
        an option that the format does not have.
    UnsupportedMovieError, InvalidMovieError
        See `plan_clip`.
    RemoteFileError
        The bytes could not be read.

    Notes
    -----
    A `.mov` costs the bytes of its frames, one request for each run of neighbours, and 4 bytes of
    timecode, and no more memory for 25,000 frames than for 100. With inter-frame coding (H.264, HEVC) its
    frames are successive, and it also has the samples before them back to a sync sample, which its edit list
    hides. No incomplete target is left under its name; of images, the complete ones stay. Sound is left out.

    Examples
    --------
    >>> write_clip(MovieReader(url), slice(100, 200), "clip.mov", progress=False)
    >>> len(MovieReader("clip.mov"))
    100
    >>> write_clip(MovieReader(url), [100, 7200], "vent_{frame:06d}.png", progress=False)
    """
    check_reader(reader)
    suffix = check_clip(target, codec=codec, fps=fps, width=width, deinterlace=deinterlace)
    name = text_of(cast("str", target)) if is_place(target) else None
    check_not_source(target, [reader.urlpath])
    if name is None or not OPTIONS[suffix]:
        _write_quicktime(plan_clip(reader, frames), target, progress=progress)
        return
    from camhd_access.output.clip import films  # noqa: PLC0415 - imports Pillow

    if suffix in films.IMAGE_OPTIONS:
        films.write_images(
            reader,
            frames,
            name,
            width=width,
            deinterlace=deinterlace,
            progress=progress,
            storage_options=options_of(target, None),
        )
    else:
        films.write_film(
            reader,
            frames,
            name,
            codec=codec or "h264",
            fps=fps,
            width=width,
            deinterlace=deinterlace,
            progress=progress,
            storage_options=options_of(target, None),
        )


def check_clip(
    target: Target, *, codec: str | None, fps: float | None, width: int | None, deinterlace: str | None = None
) -> str:
    """The suffix of the clip's name; ".mov" for an open file.

    Raises
    ------
    ValueError
        The suffix is unknown, or the format does not have one of the options.
    """
    suffix = suffix_of(cast("str", target)) if is_place(target) else ".mov"
    if suffix not in OPTIONS:
        raise ValueError(
            f"{redact_url(text_of(cast('str', target)))}: the name of a clip must end in {', '.join(OPTIONS)}"
        )
    given = {"codec": codec, "fps": fps, "width": width, "deinterlace": deinterlace}
    refused = [name for name, value in given.items() if value is not None and name not in OPTIONS[suffix]]
    if refused:
        raise ValueError(f"{suffix} does not support {' or '.join(refused)}")
    return suffix


def _write_quicktime(clip: ClipLayout, target: Target, *, progress: bool) -> None:
    with (
        open_target(target) as file,
        tqdm(total=clip.size, desc="clip", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        for part in clip.iter_bytes():
            file.write(part)
            bar.update(len(part))
