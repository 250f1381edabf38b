"""Key frames instead of the frames asked for: contact sheets and timelapses of H.264 and HEVC movies."""

import json

import inter_movies
import numpy as np
import pytest
from commands import run

from camhd_access import MovieReader, open_movie, open_movies, open_timelapse
from camhd_access.synthetic import serve_folder, write_movie

NAMES = [f"CAMHDA301-20161113T{hour}0000Z.mp4" for hour in ("00", "03")]
STRUCTURES = ["closed groups", "HEVC, open groups"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A movie of each structure."""
    folder = tmp_path_factory.mktemp("movies")
    for name, structure in zip(NAMES, STRUCTURES, strict=True):
        (folder / name).write_bytes(inter_movies.encode(structure))
    return folder


@pytest.fixture
def server(folder):
    with serve_folder(folder) as server:
        yield server


def keys_of(structure, **options):
    """Display numbers of the key frames, by libav's demuxer."""
    rows, _ = inter_movies.demux(inter_movies.encode(structure, **options))
    return np.flatnonzero(rows[:, 3])


def numbers_of(sheet):
    return [int(ax.get_title(loc="left").rpartition(" ")[2]) for ax in sheet.axes]


@pytest.mark.parametrize("name", NAMES)
def test_each_thumbnail_of_a_sheet_is_one_sample(folder, name, sent):
    keys = keys_of(STRUCTURES[NAMES.index(name)])
    assert len(keys) == 5
    movie = open_movie(folder / name)
    sheet = movie.camhd.contact_sheet(step=0.5, keyframes=True)
    asked = np.arange(0, 60, 15)
    expected = np.unique(keys[np.abs(keys - asked[:, None]).argmin(axis=1)])
    assert numbers_of(sheet) == expected.tolist()
    assert len(sent) == len(expected)
    shown = movie.isel(time=expected).compute().values
    for ax, picture in zip(sheet.axes, shown, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), picture)
    assert "keyframes=True" in sheet.provenance.json


@pytest.mark.parametrize("name", NAMES)
def test_a_thumbnail_costs_the_bytes_of_one_sample(folder, server, name):
    key = keys_of(STRUCTURES[NAMES.index(name)])[2]
    movie = open_movie(server.url + name, cache=False).isel(time=slice(key - 3, key + 5))
    costs = []
    for keyframes, shown in ((True, key), (False, key - 3)):
        before = server.n_requests, server.n_bytes_sent
        assert numbers_of(movie.camhd.contact_sheet(n=1, keyframes=keyframes)) == [shown]
        costs.append((server.n_requests - before[0], server.n_bytes_sent - before[1]))
    assert costs[0] == (1, MovieReader(folder / name).index.size[key])
    assert costs[1][1] > costs[0][1]


def test_a_sheet_shows_each_key_frame_once(folder):
    movie = open_movie(folder / NAMES[0])
    keys = keys_of(STRUCTURES[0]).tolist()
    assert numbers_of(movie.camhd.contact_sheet(n=None, keyframes=True)) == keys
    assert len(movie.camhd.contact_sheet(n=None).axes) == 60


def test_a_sheet_of_a_part_shows_key_frames_of_this_part(folder):
    movie = open_movie(folder / NAMES[0])
    first, second, third, *_ = keys_of(STRUCTURES[0]).tolist()
    part = movie.isel(time=slice(first + 1, third))
    assert numbers_of(part.camhd.contact_sheet(n=3, keyframes=True)) == [second]
    without = movie.isel(time=slice(first + 1, second))
    assert numbers_of(without.camhd.contact_sheet(n=2, keyframes=True)) == [first + 1, second - 1]
    backwards = movie.isel(time=slice(None, None, -1))
    assert (
        numbers_of(backwards.camhd.contact_sheet(n=None, keyframes=True))
        == keys_of(STRUCTURES[0])[::-1].tolist()
    )
    loaded = movie.compute().camhd.contact_sheet(n=2, keyframes=True)
    assert numbers_of(loaded) == [0, 59]


def test_a_sheet_of_several_movies_stays_in_each_movie(folder):
    both = open_movies([folder / name for name in NAMES], progress=False)
    shown = both.isel(time=slice(50, 70))  # no key frame of the first movie
    assert len(shown.camhd.contact_sheet(n=None, keyframes=True).axes) == 10 + 1


@pytest.mark.parametrize("structure", ["closed groups", "HEVC, open groups", "open groups, pyramid"])
def test_the_nearest_in_time(structure, tmp_path):
    path = tmp_path / NAMES[0]
    path.write_bytes(inter_movies.encode(structure, varies=True))
    rows, _ = inter_movies.demux(inter_movies.encode(structure, varies=True))
    keys, ticks = keys_of(structure, varies=True), rows[:, 0]
    for frame in range(0, 60, 7):
        lapse = open_timelapse([path], frame=frame, keyframes=True, progress=False)
        assert lapse.frame.item() == keys[np.abs(ticks[keys] - ticks[frame]).argmin()]


def test_a_timelapse_costs_one_sample_a_movie(folder, server):
    urls = [server.url + name for name in NAMES]
    lapse = open_timelapse(urls, at=1.0, keyframes=True, cache=False, progress=False)
    expected = [keys[np.abs(keys - 30).argmin()] for keys in map(keys_of, STRUCTURES)]
    assert lapse.frame.values.tolist() == expected
    readers = [MovieReader(folder / name) for name in NAMES]
    times = [reader.times()[frame] for reader, frame in zip(readers, expected, strict=True)]
    np.testing.assert_array_equal(lapse.time.values, np.array(times))
    before = server.n_requests, server.n_bytes_sent
    pictures = lapse.values
    sizes = [reader.index.size[frame] for reader, frame in zip(readers, expected, strict=True)]
    assert (server.n_requests - before[0], server.n_bytes_sent - before[1]) == (2, sum(sizes))
    for picture, reader, frame in zip(pictures, readers, expected, strict=True):
        np.testing.assert_array_equal(picture, reader.read(frame)[0])
        assert reader.plan(frame).n_bytes == reader.index.size[frame]


def test_hidden_key_frames_are_not_shown(tmp_path):
    path = tmp_path / NAMES[0]
    data = inter_movies.copy(inter_movies.encode("one group"), skip_seconds=0.5)
    path.write_bytes(data)
    assert not inter_movies.demux(data)[0][:, 3].any()
    lapse = open_timelapse([path], frame=7, keyframes=True, progress=False)
    assert lapse.frame.item() == 7


def test_of_prores_nothing_changes(tmp_path):
    path = tmp_path / "CAMHDA301-20161113T000000Z.mov"
    write_movie(path, n_frames=5, width=320, height=192)
    plain, keys = (open_timelapse([path], frame=3, keyframes=k, progress=False) for k in (False, True))
    assert plain.identical(keys)
    assert keys.frame.item() == 3
    movie = open_movie(path)
    sheets = [movie.camhd.contact_sheet(n=3, keyframes=k) for k in (False, True)]
    assert numbers_of(sheets[0]) == numbers_of(sheets[1]) == [0, 2, 4]


def test_on_the_command_line(folder, tmp_path):
    sheet = ("sheet", "--every", "0.5", "-o", tmp_path / "sheet.png", "--json", folder / NAMES[0])
    assert json.loads(run(*sheet, "--keyframes").stdout)["n_frames"] == 4
    period = ("--kind", "mp4", "--start", "2016-11-13", "--end", "2016-11-14")
    lapse = ("timelapse", *period, "--at", "1", "--keyframes", "-o", tmp_path / "lapse.gif", "--json", folder)
    shown = [each["frame"] for each in json.loads(run(*lapse).stdout)["pictures"]]
    assert shown == [keys[np.abs(keys - 30).argmin()] for keys in map(keys_of, STRUCTURES)]
