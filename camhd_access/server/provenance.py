"""The provenance record of files made by the server (see `output.provenance`), with the command for each."""

from collections.abc import Iterable
from dataclasses import replace

from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack
from camhd_access.output.provenance import Provenance, describe_stack, write_command
from camhd_access.server.parameters import FilmParameters, FrameParameters, SheetParameters

__all__ = ["describe_film", "describe_picture", "describe_sheet"]


def describe_picture(
    reader: MovieReader, stack: FrameStack, wanted: FrameParameters, size: tuple[int, int]
) -> Provenance:
    """The record of the image of one frame, sent with this width and height.

    Notes
    -----
    The command reproduces the image before it was resized.
    """
    record = describe_stack(reader, stack, width=size[0] if size != stack.shape[2:0:-1] else None)
    options = [("--frame", record.frames), ("--field", record.field)]
    return replace(record, history=write_command("frame", record, options, f"frame.{wanted.format.name}"))


def describe_film(
    reader: MovieReader, stack: FrameStack, wanted: FilmParameters, size: tuple[int, int]
) -> Provenance:
    """The record of a film of these frames."""
    record = describe_stack(reader, stack, reads=True, width=size[0])
    options = [("--frames", record.frames), ("--fps", wanted.fps), ("--width", wanted.width)]
    return _tell_command(record, "clip", options, f"animation.{wanted.format}")


def describe_sheet(reader: MovieReader, stack: FrameStack, wanted: SheetParameters) -> Provenance:
    """The record of a contact sheet of these frames."""
    record = describe_stack(reader, stack, reads=True, width=wanted.width)
    keyframes = "" if wanted.keyframes else None
    options = [("--every", f"{wanted.every:g}"), ("--columns", wanted.columns), ("--keyframes", keyframes)]
    return _tell_command(record, "sheet", options, f"sheet.{wanted.format.name}")


def _tell_command(
    record: Provenance, command: str, options: Iterable[tuple[str, object]], output: str
) -> Provenance:
    """The record with a command of `camhd` that chooses its own reduction."""
    return replace(record, history=write_command(command, replace(record, reduce=None), options, output))
