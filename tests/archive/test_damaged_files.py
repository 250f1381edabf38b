"""Catalogues, lists of movies, framesets and tables of regions that are damaged or malicious: the promised
error, which names the file in few words, in bounded time and memory."""

import gzip
import json
import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from camhd_access import (
    CamhdError,
    open_archive,
    read_catalog,
    read_frameset,
    read_multimov,
    read_regions,
    write_catalog,
)
from camhd_access.archive import catalog as module

MULTIMOV = {
    "Version": "0.1",
    "Movies": {"0": {"ShortName": "a.mov", "Relapath": "x/a.mov", "NumFrames": 20, "Duration": 667_333_333}},
    "Sequence": [{"FrameOffset": 0, "Hash": "0"}, {"FrameOffset": 20, "Hash": "0"}],
}
FRAMESET = {
    "Source": "a.mov",
    "NumFrames": 70,
    "Chunks": [{"Name": "a", "Frames": [31, 30]}, {"Name": "b", "Start": 40, "End": 50}],
}
REGIONS = (
    "mov_basename,date_time,start_frame,end_frame,scene_tag\n"
    "CAMHDA301-20161113T000000Z,2016-11-13 00:00:00,300,900,d2_p1_z0\n"
    "CAMHDA301-20161113T000000Z,2016-11-13 00:00:00,950,1000,unknown\n"
)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    (root / "2016/11/13").mkdir(parents=True)
    for hour in (0, 3):
        (root / f"2016/11/13/CAMHDA301-20161113T{hour:02}0000Z.mov").write_bytes(b"x" * 100)
    return open_archive(str(root)).catalog(index=False, progress=False)


@pytest.fixture(
    params=["c.jsonl", "c.jsonl.gz", "c.parquet", "multimov.json", "frameset.json", "regions.csv"]
)
def kind(request, catalog, tmp_path):
    """The path of a small file of each kind, and the function that reads it."""
    path = tmp_path / request.param
    if path.name.startswith("c."):
        write_catalog(catalog, path)
        return path, read_catalog
    content = {"multimov.json": MULTIMOV, "frameset.json": FRAMESET}.get(path.name)
    path.write_text(REGIONS if content is None else json.dumps(content))
    return path, {"m": read_multimov, "f": read_frameset, "r": read_regions}[path.name[0]]


def read_or_refuse(kind):
    """The content, or None if the file is rejected with the documented error."""
    path, read = kind
    refusals = (ValueError, CamhdError)  # a frame of a frameset may not exist
    if path.name == "frameset.json":
        refusals += (FileNotFoundError,)  # it may name another list, or movie, by now
    try:
        return read(path)
    except refusals as error:
        refused = error
    assert len(str(refused)) < 1500
    return None


def test_whole_ones_are_read(kind):
    assert read_or_refuse(kind) is not None


@pytest.mark.slow
def test_every_truncation(kind):
    path, _ = kind
    data = path.read_bytes()
    step = max(1, len(data) // 400)  # each byte of the small ones
    for stop in range(0, len(data), step):
        path.write_bytes(data[:stop])
        read_or_refuse(kind)


@pytest.mark.slow
def test_flipped_bits(kind):
    path, _ = kind
    data = path.read_bytes()
    rng = random.Random(12)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 8))):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        read_or_refuse(kind)


MILLION = 1_000_000
ALL_OF_IT = [{"Name": f"{i}", "Start": 1, "End": 3 * MILLION} for i in range(99)]
STRANGE = [
    "[" * 100_000,
    '{"a":' * 100_000,
    "1" * 5000,
    '{"basename": %s}' % ("9" * 5000),
    '{"Source": "a.mov", "NumFrames": 1e400}',
    '{"Source": "a.mov", "NumFrames": 1000000000000000000000, "Chunks": [{"Name": "a", "Start": 1}]}',
    json.dumps({"Source": "a", "NumFrames": 3 * MILLION, "Chunks": ALL_OF_IT}),
    '{"Movies": {"0": {"ShortName": "a", "NumFrames": 1e99}}, "Sequence": [{"FrameOffset": 0, "Hash": 0}]}',
    "null",
    "[]",
    "\0" * 10_000,
    "\udcff",
    "a,b\n" * 1000,
    '"' + "x" * 200_000,
    "mov_basename,start_frame,end_frame,scene_tag\nCAMHDA301-20161113T000000Z,%s,2,x" % ("1" * 5000),
]


@pytest.mark.parametrize("content", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("read", [read_catalog, read_multimov, read_frameset, read_regions])
def test_strange_content_is_refused_by_name(tmp_path, read, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    if read is read_multimov and content.startswith('{"Source"'):
        assert read(path).movies == ()
        return
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, CamhdError), match=r"odd\.json"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


VALUES = [
    None,
    -1,
    1e308,
    10**40,
    2**63,
    True,
    "",
    "x",
    [],
    {},
    "9999-12-31T23:59:59",
    "1e400",
    "\ud800",
    [[]],
]


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_strange_values_of_a_catalogue(catalog, tmp_path, value):
    path = tmp_path / "c.jsonl"
    write_catalog(catalog, path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for name in rows[0]:
        changed = [rows[0], rows[1] | {name: value}]
        path.write_text("\n".join(map(json.dumps, changed)))
        read_or_refuse((path, read_catalog))


@pytest.mark.parametrize(
    "line", [b"[[],", b'{"a":[' + b"[]," * 500_000, b"{}\n", b"1\n", b"\n", b"\0", b'{"basename":1}\n']
)
def test_what_unpacks_to_much_is_refused_in_bounded_memory(tmp_path, line):
    path = tmp_path / "c.jsonl.gz"
    n = -(-module.MAX_CATALOG_BYTES // len(line))
    for content in (line * (n // 2), line * (n + 1)):
        path.write_bytes(gzip.compress(content, 1))
        tracemalloc.start()
        try:
            read_or_refuse((path, read_catalog))
            assert tracemalloc.get_traced_memory()[1] < 5 * module.MAX_CATALOG_BYTES
        finally:
            tracemalloc.stop()


def test_parquet_of_repeated_rows_or_texts_is_refused(catalog, tmp_path):
    path = tmp_path / "c.parquet"
    write_catalog(catalog, path)
    table = parquet.read_table(path)
    many = pa.table(
        {name: table[name].take(np.zeros(module.MAX_ROWS + 1, int)) for name in table.column_names}
    )
    parquet.write_table(many, path)
    with pytest.raises(ValueError, match=r"c\.parquet is not a catalogue, .*1,048,577 rows"):
        read_catalog(path)
    one = pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * (1 << 20)])
    texts = many.slice(0, 100_000).set_column(
        table.column_names.index("reason"), "reason", pa.DictionaryArray.from_arrays(*one)
    )
    parquet.write_table(texts, path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"its texts take 104,\d{3},\d{3},\d{3} bytes"):
        read_catalog(path)
