"""The provenance of files can be read without this package, and the files can be reproduced from it."""

import errno
import io
import json
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET

import av
import numpy as np
import pytest
import xarray as xr
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.cbook import open_file_cm
from matplotlib.figure import Figure
from PIL import ExifTags, Image

from camhd_access import MovieReader, __version__, open_movie, open_timelapse, write_clip
from camhd_access.movie.origin import format_frames, parse_frames, parse_origin
from camhd_access.output.provenance_files import read_provenance
from camhd_access.synthetic import serve_folder, write_movie

NAME = "CAMHDA301-20161113T000000Z"
TIME_OF_5 = "2016-11-13T00:00:03.166833Z"


def records_in(texts):
    """The JSON objects among some texts, by the standard library alone."""
    for each in texts:
        text = each.decode(errors="replace") if isinstance(each, bytes) else each
        start = text.find('{"camhd_access"')
        if start >= 0:
            yield json.JSONDecoder().raw_decode(text[start:])[0]


def record_of_image(path):
    """The record in an image, read with Pillow."""
    with Image.open(path) as image:
        image.load()
        texts = [value for value in image.info.values() if isinstance(value, str | bytes)]
        texts.append(image.getexif().get(ExifTags.Base.ImageDescription, ""))
    return next(records_in(texts))


def record_of_film(path):
    """The record in a film, read with ffprobe."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    command = ["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return next(records_in(found["format"]["tags"].values()))


def again(path, folder, monkeypatch):
    """The output of the command in a record, run in a separate folder."""
    shown = run("info", path)
    assert shown.exit_code == 0, shown.stderr
    (command,) = [line for line in shown.stdout.splitlines() if line.startswith("made by:")]
    program, *arguments = shlex.split(command.removeprefix("made by:"))
    assert program == "camhd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    (made,) = folder.iterdir()
    return made


IMAGES = [
    ("a.png", []),
    ("a.png", ["--crop", "64,32,128,96", "--reduce", "2"]),
    ("a.png", ["--reduce", "8", "--pix-fmt", "gray"]),
    ("a.tif", ["--pix-fmt", "gray10le", "--crop", "3,5,101,51"]),
    ("a.tiff", []),
    ("a.jpg", ["--crop", "64,32,128,96"]),
]


@pytest.mark.parametrize(("name", "options"), IMAGES, ids=str)
def test_a_frame_tells_where_it_is_from_and_is_made_again_to_the_bit(
    movie_path, tmp_path, monkeypatch, name, options
):
    path = tmp_path / name
    assert run("frame", "--frame", 5, *options, "-o", path, movie_path).exit_code == 0
    record = record_of_image(path)
    assert record["movie"] == NAME
    assert record["source"] == str(movie_path)
    assert record["file_size"] == movie_path.stat().st_size
    assert record["frames"] == "5"
    assert record["time"] == TIME_OF_5
    assert record["time_source"] == "mvhd"
    assert record["time_uncertainty_seconds"] == 3.0
    assert record["software"] == f"camhd_access {__version__}"
    assert "acknowledgement" in record["license"]
    assert {"decoder", "pix_fmt", "reduce", "bit_depth"} <= record.keys()
    made = again(path, tmp_path / "again", monkeypatch)
    assert made.read_bytes() == path.read_bytes()


def test_exif_has_the_time_as_cameras_write_it(movie_path, tmp_path):
    for name in ("a.jpg", "a.tif"):
        run("frame", "--frame", 5, "-o", tmp_path / name, movie_path)
        with Image.open(tmp_path / name) as image:
            exif = image.getexif()
            times = exif.get_ifd(ExifTags.IFD.Exif)
            assert exif[ExifTags.Base.Software] == f"camhd_access {__version__}"
        assert times[ExifTags.Base.DateTimeOriginal] == "2016:11:13 00:00:03"
        assert times[ExifTags.Base.SubsecTimeOriginal] == "166833"
        assert times[ExifTags.Base.OffsetTimeOriginal] == "+00:00"


def chunks_of(data):
    """Type and content of each chunk of a PNG."""
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def test_a_png_states_its_colours_as_the_frame_header_does(movie_path, tmp_path):
    movie, image = tmp_path / movie_path.name, tmp_path / "a.png"
    run("frame", "--frame", 5, "-o", image, movie_path)
    assert b"cICP" not in dict(chunks_of(image.read_bytes()))  # where the header states none
    data = bytearray(movie_path.read_bytes())
    start = int(MovieReader(movie_path).index.offset[5]) + 22  # SMPTE RDD 36, 5.1.1, behind size and "icpf"
    data[start : start + 3] = 9, 14, 9  # primaries, transfer characteristics, matrix
    movie.write_bytes(data)
    run("frame", "--frame", 5, "-o", image, movie)
    assert dict(chunks_of(image.read_bytes()))[b"cICP"] == bytes([9, 14, 0, 1])
    assert record_of_image(image)["color_matrix"] == "ITU-R BT.2020"
    run("frame", "--frame", 4, "-o", image, movie)
    assert record_of_image(image)["color_matrix"] == "ITU-R BT.709"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_images_of_a_clip_are_made_again(movie_path, tmp_path, monkeypatch, suffix):
    write_clip(MovieReader(movie_path), [5], tmp_path / f"x_{{frame:03d}}{suffix}", width=200, progress=False)
    path = tmp_path / f"x_005{suffix}"
    assert record_of_image(path)["width"] == 200
    assert again(path, tmp_path / "again", monkeypatch).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("frames", [slice(3, 21), [3, 4, 11, 12, 13, 30], slice(0, 30, 4)], ids=str)
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".mov"])
def test_films_and_clips_are_made_again_to_the_bit(movie_path, tmp_path, monkeypatch, suffix, frames):
    path = tmp_path / f"clip{suffix}"
    write_clip(MovieReader(movie_path), frames, path, progress=False)
    record = record_of_film(path) if suffix in (".mp4", ".mov") else record_of_image(path)
    chosen = np.arange(40)[frames]
    assert record["movie"] == NAME
    assert parse_frames(record["frames"]).tolist() == chosen.tolist()
    assert record["time"].startswith("2016-11-13T00:00:03")
    assert again(path, tmp_path / "again", monkeypatch).read_bytes() == path.read_bytes()


def test_a_gif_is_whole_beside_its_comment(movie_path, tmp_path):
    write_clip(MovieReader(movie_path), slice(3, 9), tmp_path / "a.gif", progress=False)
    with av.open(str(tmp_path / "a.gif")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 6


# ---- clips


def test_a_clip_counts_its_frames_as_its_original(movie_path, tmp_path):
    write_clip(MovieReader(movie_path), slice(7, 30, 4), tmp_path / "some frames.mov", progress=False)
    original = open_movie(movie_path)[7:30:4]
    clip = open_movie(tmp_path / "some frames.mov")
    xr.testing.assert_identical(clip.load(), original.load())


def test_a_clip_of_a_clip_is_of_the_original(movie_path, tmp_path):
    write_clip(MovieReader(movie_path), slice(10, 30), tmp_path / "one.mov", progress=False)
    write_clip(MovieReader(tmp_path / "one.mov"), [2, 5], tmp_path / "two.mov", progress=False)
    clip = open_movie(tmp_path / "two.mov")
    assert clip.frame.values.tolist() == [12, 15]
    np.testing.assert_array_equal(clip.values, open_movie(movie_path)[[12, 15]].values)
    assert str(clip.source.item()) == str(movie_path)
    assert MovieReader(tmp_path / "two.mov").times().tolist() == original_times(movie_path, [12, 15])


def original_times(path, frames):
    return MovieReader(path).times()[frames].tolist()


@pytest.mark.parametrize(
    "record",
    [
        "",
        "null",
        "[1]",
        "{",
        '{"movie": "x", "source": "y"}',
        '{"movie": "x", "source": "y", "frames": "0:3"}',
        '{"movie": "x", "source": "y", "frames": "0:1:0"}',
        '{"movie": "x", "source": "y", "frames": "0:99999999999"}',
        '{"movie": "x", "source": "y", "frames": "0:2", "file_size": "z"}',
        '{"movie": "x", "source": "y", "frames": "99999999999999999999,1"}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_record_that_does_not_fit_counts_for_nothing(record):
    assert parse_origin({"camhd_access": record}, 2) is None


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_frames_are_read_as_they_were_written(numbers):
    assert parse_frames(format_frames(np.array(numbers))).tolist() == numbers


def test_regular_frames_are_a_slice():
    texts = {"2:8": range(2, 8), "0:91:10": range(0, 100, 10), "9:2:-2": range(9, 1, -2), "7": [7]}
    for text, numbers in texts.items():
        assert format_frames(np.array(numbers)) == text


# ---- secrets, servers


def test_neither_password_nor_signature_leaves(movie_path, tmp_path):
    with serve_folder(movie_path.parent) as server:
        url = f"{server.url.replace('://', '://me:secret@')}{movie_path.name}?sig=secret"
        reader = MovieReader(url, cache=False)
        for name in ("a.mov", "a.mp4", "a_{frame}.png"):
            write_clip(reader, [5], tmp_path / name, progress=False)
        figure = open_movie(url, cache=False)[5].camhd.imshow()
        figure.savefig(tmp_path / "b.png")
        xr.Dataset({"video": open_movie(url, cache=False)[:1].load()}).to_netcdf(tmp_path / "a.nc")
        for path in tmp_path.iterdir():
            assert b"secret" not in path.read_bytes()
            if path.suffix != ".mov":
                assert read_provenance(path).source == f"{server.url}{movie_path.name}"


def test_the_etag_of_the_server_is_told(movie_path, movie_url, tmp_path):
    assert run("frame", "--frame", 5, "-o", tmp_path / "a.png", movie_url).exit_code == 0
    record = record_of_image(tmp_path / "a.png")
    assert record["source"] == movie_url
    assert record["etag"] == MovieReader(movie_url).source.filesystem.info(movie_url)["etag"].strip('"')


# ---- figures and arrays


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "jpg", "tif", "webp"])
def test_figures_tell_what_is_drawn_and_how(movie_path, tmp_path, suffix):
    frame = open_movie(movie_path, reduce=2)[5, 10:60, 20:80]
    path = tmp_path / f"a.{suffix}"
    frame.camhd.imshow().savefig(path)
    if suffix == "svg":
        (text,) = (e.text for e in ET.parse(path).iter() if e.tag.endswith("}description"))  # noqa: S314 - our own
        record = json.loads(text)
    elif suffix == "pdf":
        record = json.loads(read_provenance(path).json)
    else:
        record = record_of_image(path)
    assert record["movie"] == NAME
    assert record["frames"] == "5"
    assert record["time"] == TIME_OF_5
    assert record["crop"] == [40, 20, 120, 100]
    assert record["reduce"] == 2
    assert read_provenance(path).frames == "5"
    again = io.BytesIO()
    eval(record["history"], {"open_movie": open_movie}).savefig(again, format=suffix)  # noqa: S307 - our own
    if suffix not in ("svg", "pdf"):  # whose identifiers differ
        assert again.getvalue() == path.read_bytes()


def test_what_is_given_to_savefig_stands_before_the_record(movie_path, tmp_path):
    figure = open_movie(movie_path)[5].camhd.imshow()
    figure.savefig(tmp_path / "a.png", metadata={"Title": "mine"})
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info["Title"] == "mine"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_is_replaced_when_the_new_one_is_complete(movie_path, tmp_path, monkeypatch, suffix):
    figure = open_movie(movie_path)[5].camhd.imshow()
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"the old one")

    def fill_the_disk(_canvas, target, **_options):
        with open_file_cm(target, "wb") as file:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FigureCanvasBase, "print_figure", fill_the_disk)
        with pytest.raises(OSError, match="no space left"):
            figure.savefig(path)
    assert path.read_bytes() == b"the old one"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    figure.savefig(path)
    assert read_provenance(path).frames == "5"


@pytest.mark.parametrize(
    ("name", "options", "written", "kind"),
    [
        ("a", {}, "a.png", b"\x89PNG"),
        ("a.", {}, "a.png", b"\x89PNG"),
        ("a", {"format": "svg"}, "a", b"<?xml"),
        ("a.PNG", {}, "a.PNG", b"\x89PNG"),
        ("a.b", {"format": "pdf"}, "a.b", b"%PDF"),
    ],
)
def test_names_of_figures_are_those_of_matplotlib(  # noqa: PLR0917 - a table
    movie_path, tmp_path, name, options, written, kind
):
    figure = open_movie(movie_path)[5].camhd.imshow()
    for place in (tmp_path / "ours" / name, f"{tmp_path}/ours/{name}"):
        (tmp_path / "ours").mkdir(exist_ok=True)
        figure.savefig(place, **options)
        (path,) = (tmp_path / "ours").iterdir()
        assert path.name == written
        assert path.read_bytes().startswith(kind)
        path.unlink()
    Figure().savefig(tmp_path / "ours" / name, **options)
    assert [path.name for path in (tmp_path / "ours").iterdir()] == [written]


def test_a_sheet_an_activity_and_a_film_of_an_array_tell_their_frames(movie_path, tmp_path):
    movie = open_movie(movie_path)
    movie.camhd.contact_sheet(n=4).savefig(tmp_path / "sheet.png")
    movie.camhd.activity().savefig(tmp_path / "activity.png")
    movie[3:9].camhd.animate(tmp_path / "film.gif", progress=False)
    frames = {"sheet": "0:40:13", "activity": "0:40", "film": "3:9"}
    for name, expected in frames.items():
        path = next(tmp_path.glob(f"{name}.*"))
        assert record_of_image(path)["frames"] == expected
    history = record_of_image(tmp_path / "film.gif")["history"]
    before = (tmp_path / "film.gif").read_bytes()
    made = eval(history.replace("'film.gif'", "None"), {"open_movie": open_movie})  # noqa: S307
    assert made.n_frames == 6
    assert before


def test_a_timelapse_tells_all_its_movies(tmp_path):
    for hour in (0, 3):
        write_movie(
            tmp_path / f"CAMHDA301-20161113T0{hour}0000Z.mov",
            n_frames=4,
            width=256,
            height=64,
            start_time=np.datetime64(f"2016-11-13T0{hour}:00:02"),
        )
    paths = sorted(tmp_path.glob("*.mov"))
    lapse = open_timelapse(paths, frame=1, progress=False)
    lapse.camhd.animate(tmp_path / "a.webp", progress=False)
    record = record_of_image(tmp_path / "a.webp")
    assert record["movies"] == [path.stem for path in paths]
    assert (record["time"][:16], record["time_end"][:16]) == ("2016-11-13T00:00", "2016-11-13T03:00")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_saved_arrays_tell_where_they_are_from(movie_path, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    part = xr.Dataset({"video": open_movie(movie_path, reduce=2)[3:9, 10:60, 20:80].load()})
    part.to_netcdf(path) if suffix == ".nc" else part.to_zarr(path, consolidated=False)
    shown = json.loads(run("info", "--json", path).stdout)
    assert shown["movie"] == NAME
    assert shown["source"] == str(movie_path)
    assert shown["frames"] == "3:9"
    assert shown["time"][:23] == "2016-11-13T00:00:03.100"
    assert shown["crop"] == [40, 20, 120, 100]
    assert shown["reduce"] == 2
    assert shown["file_size"] == movie_path.stat().st_size
    assert shown["license"]


def test_netcdf4_reads_what_xarray_wrote(movie_path, tmp_path):
    netcdf4 = pytest.importorskip("netCDF4")
    xr.Dataset({"video": open_movie(movie_path)[3:9].load()}).to_netcdf(tmp_path / "a.nc")
    with netcdf4.Dataset(tmp_path / "a.nc") as dataset:
        assert dataset["source"][...] == str(movie_path)
        assert set(dataset["movie"][:]) == {NAME}
        assert dataset["frame"][:].tolist() == list(range(3, 9))


def test_files_of_others_are_an_error(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    for name in ("a.png", "b.jpg"):
        shown = run("info", tmp_path / name)
        assert shown.exit_code == 1
        assert shown.stderr.startswith("camhd: ")
