"""The accessor `.camhd`: costs, figures, films and the viewer."""

import base64
import io
import re
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from PIL import Image

from camhd_access import FrameDecodeError, MovieReader, open_movie, open_timelapse
from camhd_access.output.figures import _find_jumps
from camhd_access.output.films import Animation
from camhd_access.output.pictures import to_image
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

NAME = "CAMHDA301-20161113T000000Z"


@pytest.fixture(scope="module")
def movie(movie_path):
    return open_movie(movie_path)


@pytest.fixture(scope="module")
def wide_path(tmp_path_factory):
    """A movie wide enough for its previews to be shown; two frames are blank in name only."""
    path = tmp_path_factory.mktemp("wide") / f"{NAME}.mov"
    write_movie(path, n_frames=6, width=1920, height=128, start_time=np.datetime64("2016-11-13T00:00:03"))
    return path


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Movies of three days; the camera was off on the second."""
    folder = tmp_path_factory.mktemp("days")
    for day in (13, 14, 15):
        write_movie(
            folder / f"CAMHDA301-201611{day}T000000Z.mov",
            n_frames=5,
            width=320,
            height=192,
            start_time=np.datetime64(f"2016-11-{day}T00:00:03"),
            blank=day == 14,
            first_frame_number=100 * day,
        )
    return folder


@pytest.fixture(scope="module")
def lapse(days):
    return open_timelapse(sorted(days.glob("*.mov")), frame=2, progress=False)


@pytest.fixture(autouse=True)
def _pyplot_knows_nothing():
    yield
    assert plt.get_fignums() == []


def image_of(figure):
    return figure.axes[0].images[0]


# ---- what reading would cost


PARTS = [np.s_[:], np.s_[7], np.s_[::9], np.s_[[30, 2, 2]], np.s_[5:20, ::2], np.s_[3, 4, 5, 1], np.s_[0:0]]


@pytest.mark.parametrize("chunks", ["auto", 3], ids=str)
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_the_plan_is_what_happens(served_movie, movie_url, part, chunks):
    part = open_movie(movie_url, chunks=chunks, cache=False)[part]
    before = served_movie.n_requests, served_movie.n_bytes_sent
    plan = part.camhd.plan()
    assert (served_movie.n_requests, served_movie.n_bytes_sent) == before
    part.compute(scheduler="synchronous")
    assert plan.n_requests == served_movie.n_requests - before[0]
    assert plan.n_bytes == served_movie.n_bytes_sent - before[1]
    assert plan.n_frames == part.encoded_size.size


def test_the_plan_of_a_timelapse(days):
    with serve_folder(days) as server:
        lapse = open_timelapse(
            [server.url + path.name for path in days.glob("*.mov")], at=0, cache=False, progress=False
        )
        before = server.n_requests, server.n_bytes_sent
        plan = lapse[:2].camhd.plan()
        lapse[:2].compute()
        assert (plan.n_requests, plan.n_frames) == (2, 2)
        assert server.n_requests - before[0] == 2
        assert server.n_bytes_sent - before[1] == plan.n_bytes == int(lapse.encoded_size[:2].sum())


def test_a_plan_tells_seconds(movie):
    plan = movie.camhd.plan(megabits_per_second=1)
    assert plan.seconds == pytest.approx(plan.n_bytes * 8 / 1e6)
    assert 0 < movie.camhd.plan(megabits_per_second=1e9).seconds < plan.seconds
    assert re.fullmatch(r"40 frames: \d+ requests, \d\.\d MB, about \d+\.\d s", str(plan))


def test_previews_are_quicker_and_take_the_same_bytes(movie_path, movie):
    fast = {"megabits_per_second": 1e9}
    small = open_movie(movie_path, reduce=8).camhd.plan(**fast)
    assert small.n_bytes == movie.camhd.plan().n_bytes
    assert small.seconds < movie.camhd.plan(**fast).seconds / 5


def test_what_is_not_known_has_no_plan(movie_path, movie):
    written = movie[:2].copy()
    written[0] = 0
    lost = [
        movie + 1,
        movie[:2].mean("time"),
        movie[0].compute(),
        open_movie(movie_path, chunks=None),
        written,
    ]
    for array in lost:
        with pytest.raises(ValueError, match="before computing"):
            array.camhd.plan()


# ---- one frame


def test_a_frame_is_shown_as_it_is(movie):
    figure = movie[24].camhd.imshow()
    assert isinstance(figure, Figure)
    assert np.array_equal(image_of(figure).get_array(), movie[24])
    assert figure.axes[0].get_title() == f"{NAME}  ·  frame 24  ·  2016-11-13 00:00:03.800 UTC"
    assert image_of(figure).get_extent() == [-0.5, 319.5, 191.5, -0.5]
    assert figure.axes[0].get_aspect() == 1
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_one_frame_with_a_time_axis_is_one_frame(movie):
    assert movie[24:25].camhd.imshow().axes[0].get_title().startswith(f"{NAME}  ·  frame 24")


def test_a_frame_of_a_timelapse_names_its_movie(lapse):
    title = lapse[2].camhd.imshow().axes[0].get_title()
    assert title == "CAMHDA301-20161115T000000Z  ·  frame 2  ·  2016-11-15 00:00:03.066 UTC"


@pytest.mark.parametrize(
    ("part", "extent"),
    [
        (np.s_[0, 32:96, 100:180], [99.5, 179.5, 95.5, 31.5]),
        (np.s_[0, ::4, ::2], [-1, 319, 190, -2]),
        (np.s_[0, 5:6, 7:8], [6.5, 7.5, 5.5, 4.5]),
        (np.s_[0, ::-1], [-0.5, 319.5, -0.5, 191.5]),
    ],
)
def test_a_crop_lies_where_it_is_from(movie, part, extent):
    assert image_of(movie[part].camhd.imshow()).get_extent() == extent


def test_a_loaded_or_averaged_crop_still_knows(movie):
    crop = movie[:3, 32:96, 100:180]
    for array in (crop[0].compute(), crop.mean("time"), crop[2].astype("f4") - crop[1]):
        assert image_of(array.camhd.imshow()).get_extent() == [99.5, 179.5, 95.5, 31.5]


def test_without_a_place_pixels_are_counted(movie):
    crop = movie[0, 32:96, 100:180].drop_vars(["y", "x"])
    assert image_of(crop.camhd.imshow()).get_extent() == [-0.5, 79.5, 63.5, -0.5]


@pytest.mark.parametrize(("options", "lines"), [({"reduce": 8}, 24), ({"fields": True}, 96)])
def test_previews_and_fields_fill_the_frame(movie_path, options, lines):
    picture = open_movie(movie_path, **options)[3]
    figure = picture.camhd.imshow()
    assert image_of(figure).get_array().shape[0] == lines
    assert image_of(figure).get_extent() == [-0.5, 319.5, 191.5, -0.5]
    if "fields" in options:
        assert "frame 1  ·  field 1" in figure.axes[0].get_title()


@pytest.mark.parametrize("pix_fmt", ["bgr24", "rgb48le", "bgr48be"])
def test_colours_are_the_same_from_every_format(movie_path, movie, pix_fmt):
    shown = image_of(open_movie(movie_path, pix_fmt=pix_fmt)[24].camhd.imshow()).get_array()
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - movie[24].values).max() <= 1


def test_a_mean_is_shown_in_its_colours(movie):
    mean = movie[20:24].mean("time")
    figure = mean.camhd.imshow()
    assert np.array_equal(image_of(figure).get_array(), mean.values.round().astype("u1"))
    assert figure.axes[0].get_title() == NAME


@pytest.mark.parametrize(("vmin", "vmax"), [(0, 50), (-50, 0.0)])
def test_zero_is_a_limit_of_the_colours_of_a_difference(movie, vmin, vmax):
    floats = movie[:2].astype("float32").load()
    difference = floats[1] - floats[0].drop_vars("time")
    figure = difference.camhd.imshow(vmin=vmin, vmax=vmax)
    expected = ((difference.values - vmin) / (vmax - vmin)).clip(0, 1) * 255
    assert np.abs(image_of(figure).get_array() - expected).max() <= 0.51
    assert figure.axes[1].get_ylim() == (vmin, vmax)


@pytest.mark.parametrize(
    ("pix_fmt", "limits", "label"),
    [
        ("gray10le", (64, 940), "luma as coded (10-bit code values: black 64, white 940)"),
        ("gray", (0, 255), "luma (8-bit code values: black 0, white 255)"),
        ("gray16le", (0, 65535), "luma (16-bit code values: black 0, white 65535)"),
    ],
)
def test_luma_has_a_colour_bar_with_units(movie_path, pix_fmt, limits, label):
    frame = open_movie(movie_path, pix_fmt=pix_fmt)[24]
    image = image_of(frame.camhd.imshow())
    assert np.array_equal(image.get_array(), frame)
    assert image.get_clim() == limits
    assert image.get_cmap().name == "gray"
    assert image.colorbar.ax.get_ylabel() == label


def test_what_was_computed_from_luma_has_its_own_range(movie_path):
    luma = open_movie(movie_path, pix_fmt="gray10le")
    spread = luma[20:24].std("time").compute()
    image = image_of(spread.camhd.imshow(cmap="magma"))
    assert image.get_clim() == (spread.min(), spread.max())
    assert image.get_cmap().name == "magma"
    assert image.colorbar.ax.get_ylabel() == "luma as coded (10-bit code values)"
    assert image_of(luma[0].camhd.imshow(vmin=100, vmax=200)).get_clim() == (100, 200)


def test_draws_where_it_is_told(movie):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert movie[1].camhd.imshow(ax=left) is movie[2].camhd.imshow(ax=right) is figure
    assert [ax.images[0].get_array().shape for ax in (left, right)] == [(192, 320, 3)] * 2


def test_only_frames_are_shown(movie):
    with pytest.raises(ValueError, match=r"40 frames: select one, as in movie\[0\]"):
        movie.camhd.imshow()
    for array in (movie[:, 0], movie.encoded_size, xr.DataArray(3)):
        with pytest.raises(ValueError, match="frames have the dimensions time, y, x and channel"):
            array.camhd.imshow()
    with pytest.raises(ValueError, match="frames along time"):
        movie[0].camhd.contact_sheet()
    with pytest.raises(ValueError, match="the selection contains no frames"):
        movie[0:0].camhd.activity()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 51, 255]], "u1"), [0, 51, 255]),
        (np.array([[0.0, 0.2, 1.0]]), [0, 51, 255]),
        (np.array([[0, 13107, 65535]], "u2"), [0, 51, 255]),
    ],
)
def test_arrays_of_others_are_shown_as_matplotlib_does(values, expected):
    assert to_image(xr.DataArray(values, dims=("y", "x"))).tolist() == [expected]


def test_signed_values_are_blue_and_red_around_zero_and_missing_ones_gray():
    values = np.array([[-7.0, -1.0, np.nan, 0.0, 3.0]])
    image = to_image(xr.DataArray(values, dims=("y", "x")))[0]
    expected = colormaps["RdBu_r"]((values[0] + 7) / 14, bytes=True)[:, :3].astype(int)
    assert image[2].tolist() == [128, 128, 128]
    assert abs(image.astype(int) - expected)[[0, 1, 3, 4]].max() <= 2  # matplotlib has 256 colours
    in_gray = to_image(xr.DataArray(values, dims=("y", "x")), -1, 3)[0]
    assert in_gray.tolist() == [0, 0, 128, 64, 255]


def test_a_sheet_of_differences_has_one_scale(movie):
    luma = movie.mean("channel").astype("int32")
    differences = luma[1:4] - luma[:3].values
    sheet = differences.camhd.contact_sheet()
    reach = int(abs(differences).max())
    assert sheet.texts[1].get_text().endswith(f"  ·  {-reach} (blue) to {reach} (red)")
    for ax, frame in zip(sheet.axes, differences, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), to_image(frame, -reach, reach))


# ---- contact sheets


def labels_of(sheet):
    return [ax.get_title(loc="left") for ax in sheet.axes]


def test_a_thumbnail_every_step(movie):
    sheet = movie.camhd.contact_sheet(step=0.5, columns=2)
    assert labels_of(sheet) == [
        "+0:00.0   00:00:03 UTC   frame 0",
        "+0:00.5   00:00:03 UTC   frame 15",
        "+0:01.0   00:00:04 UTC   frame 30",
    ]
    shown = [read_frame_number(ax.images[0].get_array()) for ax in sheet.axes]
    assert shown == [0, 15, 30]
    assert [text.get_text() for text in sheet.texts] == [
        NAME,
        "2016-11-13 00:00:03.000 to 2016-11-13 00:00:04.001 UTC  ·  3 frames",
    ]
    boxes = [ax.get_position() for ax in sheet.axes]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y1
    width, height = sheet.get_size_inches()
    assert boxes[0].width * width / (boxes[0].height * height) == pytest.approx(320 / 192)


@pytest.mark.parametrize(
    ("step", "n"), [(30, 1), (np.timedelta64(500, "ms"), 3), (None, 24), (1e-3, 40), (1001 / 30000, 40)]
)
def test_steps(movie, step, n):
    assert len(movie.camhd.contact_sheet(step=step).axes) == n


@pytest.mark.parametrize("step", [0, -1, np.timedelta64("NaT", "ns")])
def test_a_step_leads_on(movie, step):
    with pytest.raises(ValueError, match="time between thumbnails"):
        movie.camhd.contact_sheet(step=step)


def test_a_sheet_of_a_timelapse_has_every_movie(lapse):
    sheet = lapse.camhd.contact_sheet()
    assert labels_of(sheet) == [f"2016-11-{day} 00:00 UTC" for day in (13, 14, 15)]
    assert sheet.texts[0].get_text() == "3 movies, 2016-11-13 to 2016-11-15"


def test_a_sheet_of_luma_and_of_what_was_loaded(movie_path):
    luma = open_movie(movie_path, pix_fmt="gray10le")[:3]
    for array in (luma, luma.compute(), luma.astype("f4")):
        image = array.camhd.contact_sheet(step=None).axes[0].images[0]
        assert image.get_array().dtype == np.uint8
        assert image.get_cmap().name == "gray"
        assert image.get_clim() == (0, 255)


def test_thumbnails_are_previews_where_they_can_be(wide_path):
    wide = open_movie(wide_path)
    previews = open_movie(wide_path, reduce=8)
    images = [ax.images[0].get_array() for ax in wide.camhd.contact_sheet(n=None).axes]
    assert np.array_equal(images, previews)


def test_a_sheet_takes_one_read_of_each_frame(served_movie, movie_url):
    movie = open_movie(movie_url, cache=False)
    n_bytes = served_movie.n_bytes_sent
    movie.camhd.contact_sheet(step=0.5)
    assert served_movie.n_bytes_sent - n_bytes == int(movie.encoded_size[[0, 15, 30]].sum())


# ---- activity


def test_activity_asks_for_nothing(served_movie, movie_url):
    movie = open_movie(movie_url, cache=False)
    n_before = served_movie.n_requests
    (ax,) = movie.camhd.activity().axes
    assert served_movie.n_requests == n_before
    line = ax.lines[0]
    assert np.array_equal(line.get_xdata(), movie.time)
    assert np.array_equal(line.get_ydata(), movie.encoded_size / 1e3)
    assert ax.get_xlabel() == "time (UTC)"
    assert ax.get_ylabel() == "encoded frame (kB)"
    assert ax.get_title(loc="left").startswith(NAME)


def test_blank_movies_are_dark(days):
    dark, light = (open_movie(days / f"CAMHDA301-201611{day}T000000Z.mov") for day in (14, 15))
    (ax,) = dark.camhd.activity().axes
    (span,) = ax.patches
    assert span.get_x() == date2num(dark.time[0])
    assert span.get_x() + span.get_width() == pytest.approx(date2num(dark.time[-1]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no picture"]
    assert not light.camhd.activity().axes[0].patches


def test_a_timelapse_has_dots(lapse):
    (ax,) = lapse.camhd.activity().axes
    good, blank = ax.lines
    assert np.array_equal(good.get_xdata(), lapse.time[[0, 2]])
    assert np.array_equal(blank.get_xdata(), lapse.time[[1]])
    assert good.get_linestyle() == "None"


def test_a_long_movie_is_drawn_by_few_points(sparse_path):
    movie = open_movie(sparse_path)
    (ax,) = movie.camhd.activity().axes
    assert len(ax.lines[0].get_xdata()) <= 2000
    assert ax.lines[0].get_ydata().mean() == pytest.approx(float(movie.encoded_size.mean()) / 1e3, rel=1e-3)


def test_activity_of_a_movie_without_a_time(tmp_path):
    write_movie(tmp_path / "vent.mov", n_frames=3, width=320, height=192)
    movie = open_movie(tmp_path / "vent.mov")
    (ax,) = movie.camhd.activity().axes
    assert ax.get_xlabel() == "time from the start of the movie (s)"
    assert np.allclose(ax.lines[0].get_xdata(), np.arange(3) * 1001 / 30000)
    assert movie[1].camhd.imshow().axes[0].get_title() == "vent.mov  ·  frame 1  ·  0.033 s from its start"
    assert labels_of(movie.camhd.contact_sheet())[0] == "+0:00.0   frame 0"


def test_sudden_changes_are_found():
    rng = np.random.default_rng(3)
    sizes = 500 + rng.normal(0, 5, 1000)
    sizes[200:400] *= 0.5  # lights off, at once
    sizes[600:603] *= [0.8, 0.6, 0.4]  # a ramp of three frames
    sizes[603:] *= 0.4
    sizes[800:900] = 20 + rng.normal(0, 5, 100).clip(-10, 10)  # nothing but noise
    blank = sizes < 30
    assert _find_jumps(sizes, blank & (np.arange(1000) >= 800)).tolist() == [200, 400, 600, 800, 900]
    assert _find_jumps(np.full(10, 500.0), np.zeros(10, bool)).size == 0


# ---- films


def frames_of(film):
    with av.open(str(film) if not isinstance(film, bytes) else io.BytesIO(film)) as container:
        (stream,) = container.streams.video
        coding = stream.codec_context
        facts = coding.name, stream.average_rate, coding.colorspace, coding.color_range
        return facts, [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def test_a_film_has_every_frame(movie, tmp_path):
    film = movie[:12].camhd.animate(tmp_path / "film.mp4", caption=False, progress=False)
    facts, pictures = frames_of(film.path)
    assert film.fps == Fraction(30000, 1001)
    assert facts == ("h264", film.fps, 1, 1)  # BT.709, video range
    assert [read_frame_number(picture) for picture in pictures] == list(range(12))
    apart = np.abs(np.mean(pictures, axis=(1, 2)) - movie[:12].mean(("y", "x")).values)
    assert apart.max() < 2  # no cast of another matrix or range
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4"]


def test_a_film_in_memory_plays_in_a_notebook(lapse):
    film = lapse.camhd.animate(width=160, progress=False)
    assert (film.path, film.n_frames, film.fps, film.size) == (None, 3, 10, (160, 96))
    html = film._repr_html_()
    assert "<video" in html
    encoded = re.search(r"data:video/mp4;base64,([^\"]+)", html)[1]
    _, pictures = frames_of(base64.b64decode(encoded))
    assert [picture.shape for picture in pictures] == [(96, 160, 3)] * 3
    assert re.fullmatch(r"<Animation: 3 frames of 160x96, 10 a second, [\d,]+ bytes in memory>", repr(film))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_other_formats(movie, tmp_path, suffix):
    film = movie[3:7].camhd.animate(tmp_path / f"film{suffix}", fps=20, caption=False, progress=False)
    with Image.open(film.path) as file:
        assert (file.n_frames, file.size, file.info["loop"]) == (4, (320, 192), 0)
        for i in range(4):
            file.seek(i)
            picture = np.asarray(file.convert("RGB"))
            assert file.info["duration"] == 50
            assert read_frame_number(picture) == 3 + i
    assert f"data:image/{suffix[1:].lower()};base64," in film._repr_html_().lower()


def test_sizes_of_films(movie_path, movie):
    def size(array, **options):
        return array.camhd.animate(progress=False, **options).size

    assert size(movie[:1, :101, :77]) == (76, 100)
    assert size(movie[:1], width=None) == (320, 192)
    assert size(movie[:1], width=101) == (100, 60)
    assert size(open_movie(movie_path, fields=True)[:1]) == (320, 192)


def test_the_caption_tells_the_time_in_a_corner(movie):
    plain, marked = (
        frames_of(movie[24:25].camhd.animate(caption=caption, progress=False).data)[1][0].astype(int)
        for caption in (False, True)
    )
    apart = np.abs(plain - marked).max(axis=2)
    assert apart[165:, :140].max() > 100
    assert apart[:150].max() < 30
    assert apart[:, 170:].max() < 30


def test_black_and_white_of_a_film(movie_path):
    luma = open_movie(movie_path, pix_fmt="gray10le")[20:21]
    film = luma.camhd.animate(vmin=200, vmax=300, caption=False, progress=False)
    (picture,) = frames_of(film.data)[1]
    expected = ((luma[0].astype(float) - 200) / 100).clip(0, 1).values * 255
    assert np.abs(picture.mean(axis=2) - expected).mean() < 4


def test_a_film_that_fails_leaves_nothing(movie_path, tmp_path):
    copy = tmp_path / "copy.mov"
    copy.write_bytes(movie_path.read_bytes())
    index = MovieReader(copy).index
    with copy.open("r+b") as file:
        file.seek(int(index.offset[5]) + 200)
        file.write(b"\xff" * 60)
    with pytest.raises(FrameDecodeError):
        open_movie(copy, chunks=2).camhd.animate(tmp_path / "film.mp4", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.mov"]


@pytest.mark.parametrize("loads", [False, True])
def test_a_film_does_not_replace_its_movie(movie_path, tmp_path, loads):
    path = tmp_path / "movie.mp4"
    path.write_bytes(movie_path.read_bytes())
    frames = open_movie(path)[:3]
    for target in (path, path.as_uri()):
        with pytest.raises(ValueError, match="is the movie itself"):
            (frames.compute() if loads else frames).camhd.animate(target, progress=False)
    assert path.read_bytes() == movie_path.read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("film.avi", {}, r"\.mp4, \.gif, \.webp"),
        ("film", {}, r"\.mp4, \.gif, \.webp"),
        ("film.mp4", {"fps": 0}, "fps must be a positive number, not 0"),
    ],
)
def test_wrong_films(movie, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        movie.camhd.animate(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_a_large_film_is_not_put_into_the_notebook(tmp_path):
    (tmp_path / "film.mp4").touch()
    with (tmp_path / "film.mp4").open("r+b") as file:
        file.truncate(65 * 1024 * 1024)
    assert Animation(tmp_path / "film.mp4", b"", 1, Fraction(10), (2, 2))._repr_html_() is None


def test_progress_is_shown_unless_not_wanted(movie, capsys):
    movie[:2].camhd.animate()
    assert "2/2" in capsys.readouterr().err
    movie[:2].camhd.animate(progress=False)
    assert not capsys.readouterr().err


# ---- the viewer


def shown_by(viewer):
    *_, title, image = viewer.children
    with Image.open(io.BytesIO(image.value)) as file:
        return title.value, np.asarray(file)


def find(viewer, description):
    widgets = [inner for child in viewer.children for inner in (*getattr(child, "children", ()), child)]
    return next((w for w in widgets if getattr(w, "description", None) == description), None)


def test_the_viewer_shows_what_the_sliders_say(movie):
    viewer = movie.camhd.viewer()
    title, picture = shown_by(viewer)
    assert title.startswith(f"{NAME}  ·  frame 0")
    assert picture.shape == (192, 320, 3)
    find(viewer, "frame").value = 24
    title, picture = shown_by(viewer)
    assert "frame 24" in title
    assert read_frame_number(picture) == 24
    find(viewer, "y").value = (16, 80)
    find(viewer, "x").value = (100, 300)
    _, picture = shown_by(viewer)
    assert picture.shape == (64, 200, 3)
    assert np.abs(picture.astype(int) - movie[24, 16:80, 100:300].values).mean() < 5
    assert find(viewer, "movie") is None
    assert find(viewer, "frame").max == 39


def test_the_viewer_reads_only_what_it_shows(served_movie, movie_url):
    movie = open_movie(movie_url, cache=False)
    viewer = movie.camhd.viewer()
    n_requests = served_movie.n_requests
    find(viewer, "frame").value = 24
    assert served_movie.n_requests == n_requests + 1


def test_the_viewer_of_several_movies(movie, lapse):
    viewer = movie.camhd.viewer(lapse, width=160)
    find(viewer, "frame").value = 39
    find(viewer, "y").value = (0, 64)
    find(viewer, "movie").value = 1
    title, picture = shown_by(viewer)
    assert title.startswith("CAMHDA301-20161113T000000Z  ·  frame 2")
    assert picture.shape == (96, 160, 3)
    assert (find(viewer, "frame").value, find(viewer, "frame").max) == (0, 2)


def test_the_viewer_shows_errors_in_place_of_the_frame(movie_path, tmp_path):
    copy = tmp_path / f"{NAME}.mov"
    copy.write_bytes(movie_path.read_bytes())
    movie = open_movie(copy)
    viewer = movie.camhd.viewer()
    copy.unlink()
    find(viewer, "frame").value = 5
    *_, title, image = viewer.children
    assert title.value.startswith(f"{NAME}: ")
    assert image.value == b""


def test_without_ipywidgets_the_error_says_what_to_install():
    code = """
import sys
sys.modules["ipywidgets"] = None
import numpy as np, xarray as xr, camhd_access
try:
    xr.DataArray(np.zeros((1, 2, 2)), dims=("time", "y", "x")).camhd.viewer()
except ImportError as error:
    assert "camhd_access[notebook]" in str(error)
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_neither_matplotlib_nor_widgets():
    code = "import sys, camhd_access; print({'matplotlib', 'PIL', 'ipywidgets'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"
