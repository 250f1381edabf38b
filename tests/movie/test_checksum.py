"""Movies compared with the checksums beside them."""

import hashlib

import pytest
from click.testing import CliRunner

from camhd_access.cli import main
from camhd_access.movie import checksum
from camhd_access.movie.checksum import ChecksumError, verify_checksum
from camhd_access.synthetic import serve_folder

DATA = bytes(range(256)) * 50_000
NAME = "CAMHDA301-20161113T000000Z"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / f"{NAME}.mov").write_bytes(DATA)
    (tmp_path / f"{NAME}.mp4").write_bytes(DATA[:-1])
    digests = [hashlib.md5(data, usedforsecurity=False).hexdigest() for data in (DATA, DATA[:-1])]
    (tmp_path / f"{NAME}.md5").write_text(
        f"{digests[0]}  {NAME}.mov\n{digests[1].upper()} *./files/{NAME}.mp4\n"
    )
    return tmp_path


def test_a_movie_on_a_server_is_read_once_in_pieces(folder):
    with serve_folder(folder) as server:
        seen = []
        url = f"{server.url}{NAME}.mov"
        found, digest = verify_checksum(url, progress=lambda n, size: seen.append((n, size)))
        assert (found, digest) == (url, hashlib.md5(DATA, usedforsecurity=False).hexdigest())
        assert sum(n for n, _ in seen) == len(DATA)
        assert len(seen) == -(-len(DATA) // checksum.PIECE_BYTES)
        assert {size for _, size in seen} == {len(DATA)}
        verify_checksum(f"{server.url}{NAME}.mp4")


def test_a_damaged_movie_is_named(folder):
    path = folder / f"{NAME}.mov"
    path.write_bytes(DATA[:100] + b"\1" + DATA[101:])
    with pytest.raises(ChecksumError, match=r"T000000Z\.mov: its MD5 is \w{32}, not \w{32}"):
        verify_checksum(str(path))


def test_checksums_that_are_missing(folder):
    place = folder / f"{NAME}.md5"
    place.write_text(hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    verify_checksum(str(folder / f"{NAME}.mov"))  # a digest alone is the master's
    with pytest.raises(ValueError, match=r"has no checksum of CAMHDA301-20161113T000000Z\.mp4"):
        verify_checksum(str(folder / f"{NAME}.mp4"))
    with pytest.raises(ValueError, match=r"only \.mov and \.mp4"):
        verify_checksum(str(place))
    place.unlink()
    with pytest.raises(FileNotFoundError):
        verify_checksum(str(folder / f"{NAME}.mov"))


def test_the_command(folder):
    movie, twin = (str(folder / f"{NAME}.{suffix}") for suffix in ("mov", "mp4"))
    done = CliRunner().invoke(main, ["verify", movie, twin])
    assert done.exit_code == 0
    assert [line.endswith(": OK") for line in done.stdout.splitlines()] == [True, True]
    (folder / f"{NAME}.mov").write_bytes(DATA[1:])
    done = CliRunner().invoke(main, ["verify", movie, twin])
    assert done.exit_code == 1
    assert "its MD5 is" in done.stderr
    assert done.stdout.count("OK") == 1
