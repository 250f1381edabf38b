"""The command `ifdo`."""

import re
from pathlib import Path

import click

from camhd_access.cli.options import AS_JSON, PATH_OR_URL, OutputFile
from camhd_access.cli.printing import print_json

__all__ = ["ifdo"]

INSTITUTION = "NSF Ocean Observatories Initiative"


def _parse_person(text: str) -> dict[str, str]:
    """The name and, in angle brackets after it, the URI."""
    match = re.fullmatch(r"\s*([^<>]+?)\s*(?:<\s*([^<>\s]+)\s*>)?\s*", text)
    if match is None:
        raise click.BadParameter(f"{text!r}: write a name, or 'NAME <URI>'")
    return {"name": match[1]} | ({"uri": match[2]} if match[2] else {})


@click.command
@click.argument("files", nargs=-1, required=True, type=PATH_OR_URL)
@click.option("--name", help="Name of the set.  [default: made of project, movie and camera]")
@click.option("--base-url", help="Folder where the files will be published, for their handles.")
@click.option("--handle", help="Landing page of the set.  [default: urn:uuid:…]")
@click.option(
    "--pi",
    default=INSTITUTION,
    show_default=True,
    metavar="'NAME <URI>'",
    callback=lambda _ctx, _param, value: _parse_person(value),
    help="Principal investigator, with an ORCID if there is one.",
)
@click.option(
    "--creator",
    "creators",
    multiple=True,
    default=(INSTITUTION,),
    show_default=True,
    metavar="'NAME <URI>'",
    callback=lambda _ctx, _param, value: [_parse_person(each) for each in value],
    help="Creator, in the same form; can be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(".json"),
    default="ifdo.json",
    show_default=True,
    help="File to write.",
)
@AS_JSON
def ifdo(
    *,
    files: tuple[str, ...],
    name: str | None,
    base_url: str | None,
    handle: str | None,
    pi: dict[str, str],
    creators: list[dict[str, str]],
    output: Path,
    as_json: bool,
) -> None:
    """Describe FILES as an image set in iFDO, the metadata format of FAIR marine images.

    FILES are frames, films, clips and contact sheets written by this package (.png, .jpg, .tif, .webp, .gif,
    .mp4, .mov). Movie, frames and times come from the provenance record in each file. Tools such as BIIGLE
    read the result.

    \b
    Examples:
      camhd ifdo -o vent_ifdo.json frame_*.png
      camhd ifdo --pi 'A. Name <https://orcid.org/0000-0000-0000-0000>' frame_*.png sheet.png
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.output.ifdo import to_ifdo

    image_set = to_ifdo(files, output, name=name, base_url=base_url, handle=handle, pi=pi, creators=creators)
    header, n_files = image_set["image-set-header"], len(image_set["image-set-items"])
    if as_json:
        print_json({"path": output, "name": header["image-set-name"], "n_files": n_files})
    else:
        click.echo(f"{output}: {header['image-set-name']}, {n_files} files")
