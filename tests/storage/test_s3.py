"""Movies in a bucket of a real S3 API on loopback: the same frames, in few requests."""

import numpy as np
import pytest
import s3fs
from click.testing import CliRunner

from camhd_access import MovieReader, open_archive, open_movie
from camhd_access.cli import main
from camhd_access.ranges import ByteRange

FRAMES = [3, 4, 5, 30]


@pytest.fixture
def movie(s3, movie_path):
    """The URL of a movie in a bucket, in folders as the archive has them."""
    url = f"s3://{s3.bucket()}/2016/11/13/{movie_path.name}"
    s3fs.S3FileSystem(**s3.options).put_file(str(movie_path), url)
    s3fs.S3FileSystem.clear_instance_cache()  # it knows the file from writing it
    s3.requests.clear()
    return url


def test_frames_are_those_of_the_local_file(s3, movie, movie_path):
    video = open_movie(movie, frames=FRAMES, storage_options=s3.options)
    np.testing.assert_array_equal(video.values, MovieReader(movie_path).read(FRAMES))
    s3.assert_asked(HEAD=1, GET=2)  # the version; the index, with frame 30 before it; frames 3 to 5


def test_what_is_in_the_cache_costs_nothing(s3, movie, movie_path):
    expected = MovieReader(movie, storage_options=s3.options).read(FRAMES)
    s3.requests.clear()
    np.testing.assert_array_equal(MovieReader(movie, storage_options=s3.options).read(FRAMES), expected)
    s3.assert_asked()


@pytest.mark.parametrize("frames", [[3], FRAMES], ids=["one stretch", "several"])
def test_frames_without_a_cache(s3, movie, movie_path, frames):
    reader = MovieReader(movie, cache=False, storage_options=s3.options)
    s3.assert_asked(HEAD=1, GET=1)  # the version and the index
    s3.requests.clear()
    np.testing.assert_array_equal(reader.read(frames), MovieReader(movie_path).read(frames))
    s3.assert_asked(GET=len(reader.source.plan(ranges_of(reader, frames))))


def ranges_of(reader, frames):
    index = reader.index
    return [ByteRange(int(index.offset[i]), int(index.offset[i] + index.size[i])) for i in frames]


def test_archive_in_a_bucket(s3, movie):
    archive = open_archive(movie.partition("2016")[0], storage_options=s3.options)
    assert archive.movies() == [movie]
    assert archive.movies("2016-11-14") == []
    assert len(s3.requests) <= 8  # root, year, month, day, each time


def test_catalog_of_a_bucket(s3, movie, movie_path):
    archive = open_archive(movie.partition("2016")[0], storage_options=s3.options)
    (row,) = archive.catalog(index=True, progress=False).to_dict("records")
    assert (row["n_frames"], row["file_size"]) == (40, movie_path.stat().st_size)


def test_a_movie_that_is_not_there(s3, movie):
    with pytest.raises(FileNotFoundError):
        open_movie(movie.replace("2016/", "2017/"), storage_options=s3.options)


def test_missing_credentials_end_a_command_in_one_line(s3, movie, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    result = CliRunner().invoke(main, ["info", movie])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "redentials" in result.stderr
