"""Image sets as iFDO, read by the package `ifdo`, which has the published schema as classes."""

import hashlib
import json
import re
from datetime import UTC, datetime

import ifdo
import numpy as np
import pytest
from commands import run
from PIL import ExifTags, Image

from camhd_access import MovieReader, open_movie, open_timelapse, to_ifdo, write_clip
from camhd_access.synthetic import serve_folder, write_movie

NAMES = ("CAMHDA301-20161113T000000Z", "CAMHDA301-20161113T030000Z")

REQUIRED = """name uuid handle ifdo-version"""
"""Of the header, by the schema of iFDO 2.2.1, behind `image-set-`."""
REQUIRED_TOO = """
datetime latitude longitude altitude-meters coordinate-reference-system coordinate-uncertainty-meters context
project event platform sensor pi creators license copyright abstract
"""
"""Likewise, behind `image-`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    for name, hour in zip(NAMES, ("00", "03"), strict=True):
        start = np.datetime64(f"2016-11-13T{hour}:00:02")
        write_movie(folder / f"{name}.mov", n_frames=6, width=320, height=192, start_time=start)
    return folder


@pytest.fixture
def reader(folder):
    return MovieReader(folder / f"{NAMES[0]}.mov")


def check(path):
    """The set, after its own package has read it and found each field known and valid."""
    image_set = json.loads(path.read_text())
    header = image_set["image-set-header"]
    assert {f"image-set-{name}" for name in REQUIRED.split()} <= header.keys()
    assert {f"image-{name}" for name in REQUIRED_TOO.split()} <= header.keys()
    assert 500 <= len(header["image-abstract"]) <= 2000
    for item in image_set["image-set-items"].values():
        assert {"image-uuid", "image-hash-sha256", "image-handle"} <= item.keys()
    identifiers = [header["image-set-uuid"]] + [
        i["image-uuid"] for i in image_set["image-set-items"].values()
    ]
    assert all(re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", each)
               for each in identifiers)  # fmt: skip
    assert len(set(identifiers)) == len(identifiers)
    assert ifdo.iFDO.load(path).to_dict() == image_set  # what it does not know would be missing
    return image_set


def test_frames(reader, tmp_path):
    write_clip(reader, [1, 4], tmp_path / "frame_{frame:03d}.png", progress=False)
    paths = [tmp_path / f"frame_{frame:03d}.png" for frame in (1, 4)]
    returned = to_ifdo(paths, tmp_path / "set.json")
    image_set = check(tmp_path / "set.json")
    assert returned == image_set == to_ifdo(paths)  # the same files, the same set
    header, items = image_set["image-set-header"], image_set["image-set-items"]
    assert list(items) == ["frame_001.png", "frame_004.png"]
    assert header["image-set-name"] == f"OOI-RCA_{NAMES[0]}_CAMHDA301"
    assert (header["image-latitude"], header["image-altitude-meters"]) == (45.933636, -1543)
    read = ifdo.iFDO.load(tmp_path / "set.json")
    for path, frame in zip(paths, (1, 4), strict=True):
        item = items[path.name]
        assert item["image-hash-sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert item["image-handle"] == f"urn:uuid:{item['image-uuid']}"
        assert item["image-acquisition-settings"]["movie"] == item["image-event"]["name"] == NAMES[0]
        assert item["image-acquisition-settings"]["frames"] == str(frame)
        assert (item["image-acquisition"], item["image-quality"]) == ("photo", "raw")
        assert item["image-time-synchronisation"] == "UTC, by the movie's own clock, to 2 s"
        time = reader.times()[frame].astype("datetime64[us]").item().replace(tzinfo=UTC)
        assert read.image_set_items[path.name].image_datetime == time
    assert read.image_set_header.image_datetime == datetime(2016, 11, 13, 0, 0, 2, 33366, UTC)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_images_hold_their_identifier(reader, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    run("frame", "--frame", 2, "-o", path, reader.urlpath)
    with Image.open(path) as image:
        embedded = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ImageUniqueID]
    assert to_ifdo([path])["image-set-items"][path.name]["image-uuid"] == embedded


def test_each_kind_of_file(folder, reader, tmp_path):
    write_clip(reader, slice(2, 5), tmp_path / "clip.mov", progress=False)
    write_clip(reader, slice(2, 5), tmp_path / "film.mp4", progress=False)
    run(
        "frame",
        "--frame",
        2,
        "--pix-fmt",
        "gray",
        "--reduce",
        8,
        "-o",
        tmp_path / "small.png",
        reader.urlpath,
    )
    open_movie(reader.urlpath).camhd.contact_sheet().savefig(tmp_path / "sheet.png")
    open_movie(reader.urlpath)[3].camhd.imshow().savefig(tmp_path / "figure.png")
    lapse = open_timelapse([folder / f"{name}.mov" for name in NAMES], frame=1, progress=False)
    lapse.camhd.animate(tmp_path / "lapse.mp4", progress=False)
    lapse.camhd.contact_sheet().savefig(tmp_path / "lapse.png")
    kinds = {
        "clip.mov": ("video", "raw", "rgb"),
        "film.mp4": ("video", "processed", "rgb"),
        "small.png": ("photo", "processed", "grayscale"),
        "sheet.png": ("photo", "product", "rgb"),
        "figure.png": ("photo", "product", "rgb"),
        "lapse.mp4": ("video", "processed", "rgb"),
        "lapse.png": ("photo", "product", "rgb"),
    }
    to_ifdo([tmp_path / name for name in kinds], tmp_path / "set.json")
    image_set = check(tmp_path / "set.json")
    fields = ("image-acquisition", "image-quality", "image-spectral-resolution")
    items = image_set["image-set-items"]
    assert {name: tuple(item[field] for field in fields) for name, item in items.items()} == kinds
    assert items["lapse.mp4"]["image-acquisition-settings"]["movies"] == list(NAMES)
    assert image_set["image-set-header"]["image-event"] == {"name": f"2 movies, {NAMES[0]} to {NAMES[1]}"}


def test_names_handles_and_people(folder, tmp_path):
    with serve_folder(folder) as server:
        url = f"{server.url}{NAMES[0]}.mov"
        write_clip(MovieReader(url, cache=False), [0], tmp_path / "a frame {frame}.png", progress=False)
    result = run(
        "ifdo", "--name", "Mine", "--base-url", "https://data.org/vent/", "--handle", "https://data.org/set",
        "--pi", "A. Name <https://orcid.org/0>", "--creator", "B. Name", "--creator", "C. <https://c.org>",
        "-o", tmp_path / "set.json", tmp_path / "a frame 0.png",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'set.json'}: Mine, 1 files\n")
    image_set = check(tmp_path / "set.json")
    header, (item,) = image_set["image-set-header"], image_set["image-set-items"].values()
    assert item["image-handle"] == "https://data.org/vent/a%20frame%200.png"
    assert item["image-event"] == header["image-event"] == {"name": NAMES[0], "uri": url}
    assert header["image-set-handle"] == "https://data.org/set"
    assert header["image-pi"] == {"name": "A. Name", "uri": "https://orcid.org/0"}
    assert header["image-creators"] == [{"name": "B. Name"}, {"name": "C.", "uri": "https://c.org"}]


def test_what_is_no_image_set(reader, tmp_path):
    write_clip(reader, [0], tmp_path / "a{frame}.png", progress=False)
    (tmp_path / "b").mkdir()
    write_clip(reader, [0], tmp_path / "b" / "a{frame}.png", progress=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "strange.png")
    write_movie(tmp_path / "vent.mov", n_frames=1, width=320, height=192)
    write_clip(MovieReader(tmp_path / "vent.mov"), [0], tmp_path / "untimed{frame}.png", progress=False)
    own = tmp_path / "a0.png"
    for files, target, message in (
        ([], None, "no files"),
        ([own, tmp_path / "b" / "a0.png"], None, "two files are called a0.png"),
        ([tmp_path / "strange.png"], None, "has no provenance record"),
        ([tmp_path / "untimed0.png"], None, "the time of its frames is unknown"),
        ([reader.urlpath], None, "not a clip written by camhd_access"),
        ([tmp_path / "a.nc"], None, "image sets can have files in"),
        ([own], tmp_path / "set.yaml", r"must end in \.json"),
    ):
        with pytest.raises(ValueError, match=message):
            to_ifdo(files, target)
    with pytest.raises(TypeError, match="files must be a list of paths"):
        to_ifdo(own)
    assert run("ifdo", "--pi", "<x>", own).exit_code == 2
