"""A crawl of the whole archive of 2018, as a user would run it, on sparse files over a link of 20 ms.

`python -m benchmarks.crawl CATALOG [--every N]` makes each movie (or every Nth) of a published catalogue with
its true size and number of frames, all media being holes: 9,441 movies of 114 TB take 1.3 GB on disk, for as
long as this runs. nginx serves them, its listings with rounded sizes as those of the archive's Apache, behind
a proxy that delays. Then it lists, reads all indexes, crawls again, and says what each cost.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
from fsspec.asyn import sync

from benchmarks.servers import _proxied
from camhd_access import open_archive, read_catalog
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sparse_archive import ROOT, day_path, write_sparse
from webservers import start_nginx

BYTES_PER_FRAME = 560_000
"""For movies without a number of frames in the catalogue."""


def make_archive(catalog: pd.DataFrame, folder: Path) -> None:
    """The movies of a catalogue below `folder`, without their media."""
    for row in catalog.itertuples():
        n_frames = row.file_size // BYTES_PER_FRAME if pd.isna(row.n_frames) else row.n_frames
        if row.quality in {"empty", "unreadable"}:
            n_frames = 0
        created = row.start_time if row.start_source == "mvhd" else None
        write_sparse(
            folder / day_path(row.Index), file_size=row.file_size, n_frames=n_frames, created=created
        )


@contextmanager
def step(name: str, filesystem: LazyHTTPFileSystem) -> Iterator[None]:
    """Print the cost of the block."""
    before, begin, cpu = filesystem.stats, time.perf_counter(), time.process_time()
    yield
    cost, seconds = filesystem.stats - before, time.perf_counter() - begin
    print(
        f"{name:32} {seconds:7.1f} s  {cost.requests:6,} requests  {cost.requests / seconds:5.1f} a second"
        f"  {cost.bytes / 1e6:8,.1f} MB  {time.process_time() - cpu:6.1f} s of CPU",
        flush=True,
    )


def crawl(root: str, file: str, expected: pd.DataFrame) -> None:
    """Run all steps, and check their results."""
    archive = open_archive(root)
    with step("list", archive.filesystem):
        listed = archive.catalog(progress=False)
    with step("list, read all indexes", archive.filesystem):
        found = archive.catalog(index=True, progress=False, file=file)
    with step("the same again", archive.filesystem):
        again = archive.catalog(index=True, progress=False, file=file)
    sync(archive.filesystem.loop, archive.filesystem.aclose)
    time.sleep(0.5)  # the proxy learns of it later
    known = expected[expected["n_frames"].notna()]
    assert list(listed.index) == list(found.index) == list(expected.index)
    assert (found["file_size"] == expected["file_size"]).all()
    assert (found["n_frames"][known.index] == known["n_frames"]).all()
    assert found.equals(again)
    print(f"{len(found):,} movies, {found['file_size'].sum() / 1e12:.2f} TB:", end=" ")
    print(", ".join(f"{n:,} {quality}" for quality, n in found["quality"].value_counts().items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"catalogue: {Path(file).stat().st_size / 1e3:,.0f} kB; peak memory of this process: {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog", help="of published catalogues, e.g. dbcamhd.json")
    parser.add_argument("--every", type=int, default=1, help="take every Nth movie")
    parser.add_argument("--rtt-ms", type=float, default=20.0)
    parser.add_argument("--mbit", type=float, default=1000.0)
    options = parser.parse_args()
    catalog = read_catalog(options.catalog).iloc[:: options.every]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="camhd-crawl-")))
        begin = time.perf_counter()
        make_archive(catalog, folder / "files")
        used = subprocess.run(["du", "-sm", folder], check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - begin
        print(f"made {len(catalog):,} movies in {seconds:.0f} s, {used.split()[0]} MB on disk", flush=True)
        nginx = stack.enter_context(
            start_nginx(folder / "files", folder / "nginx", "autoindex_exact_size off;")
        )
        port = stack.enter_context(_proxied(nginx.url.rpartition(":")[2], options.mbit, options.rtt_ms))
        crawl(f"http://127.0.0.1:{port}/{ROOT}", str(folder / "catalog.parquet"), catalog)


if __name__ == "__main__":
    main()
