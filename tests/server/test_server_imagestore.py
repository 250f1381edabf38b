"""The image store on a local folder, in memory, and in a bucket of a real S3 API."""

import asyncio
import os
import threading
import time
from collections import OrderedDict
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from camhd_access.server import imagestore
from camhd_access.server.imagestore import CHECKSUMS, FOLDER, ImageStore
from camhd_access.server.made_files import MadeFile, MadeFiles

KEY = "v1/org/x/CAMHDA301-20161113T000000Z.mov/frame/7.w=320.png"

_numbers = count()


@pytest.fixture(params=["local", "memory", "s3"])
def place(request, tmp_path, s3):
    """Where a store may lie: its URL and the options of its filesystem."""
    if request.param == "local":
        return str(tmp_path / "images"), {}
    if request.param == "memory":
        return f"memory://images{next(_numbers)}", {}
    return f"s3://{s3.bucket()}/images", s3.options


@asynccontextmanager
async def opened(url, options=None, *, max_bytes=1 << 20, **urls):
    store = ImageStore(url, max_bytes=max_bytes, storage_options=options, **urls)
    try:
        yield store
    finally:
        await store.aclose()


async def put_all(store, *keys, body=b"0123456789"):
    """Put and wait for each in turn, so that their order is known."""
    for key in keys:
        await store.put(key, body, "image/png")
        await asyncio.gather(*store._writing.values())


def files_of(url, options):
    filesystem, root = fsspec.core.url_to_fs(url, **options)
    filesystem.invalidate_cache()
    pictures = {path.removeprefix(f"{root}/{FOLDER}/") for path in filesystem.find(f"{root}/{FOLDER}")}
    checksums = filesystem.find(f"{root}/{CHECKSUMS}")
    assert pictures == {path.removeprefix(f"{root}/{CHECKSUMS}/") for path in checksums}
    return pictures


async def kept(store, *keys):
    return [key for key in keys if await store.get(key) is not None]


def test_what_was_put_comes_back(place):
    async def use():
        async with opened(*place) as store:
            assert await store.get(KEY) is None
            await put_all(store, KEY, body=bytes(range(256)))
            assert await store.get(KEY) == bytes(range(256))
            assert (store.n_pictures, store.n_bytes, store.n_failures) == (1, 256, 0)
            await put_all(store, KEY, body=b"another")
            assert await store.get(KEY) == b"another"
            assert (store.n_pictures, store.n_bytes) == (1, 7)
        assert files_of(*place) == {KEY}

    asyncio.run(use())


def test_the_least_recently_used_go_first(place):
    async def use():
        async with opened(*place, max_bytes=35) as store:
            await put_all(store, "a.png", "b.png", "c.png")
            await store.get("a.png")
            await put_all(store, "d.png")
            assert files_of(*place) == {"a.png", "c.png", "d.png"}
            await put_all(store, "e.png", body=b"e" * 30)
            assert files_of(*place) == {"e.png"}
            await put_all(store, "f.png", body=b"f" * 36)  # more than all of the quota
            assert files_of(*place) == {"e.png"}
            assert store.n_bytes == 30

    asyncio.run(use())


def test_the_quota_survives_a_restart(place):
    async def use():
        async with opened(*place) as store:
            await put_all(store, "a.png", "b/b.png", "b/c.png")
        async with opened(*place, max_bytes=35) as store:
            await put_all(store, "d.png")
            assert store.n_bytes == 30
            assert len(files_of(*place)) == 3
            assert await kept(store, "d.png") == ["d.png"]

    asyncio.run(use())


def test_a_smaller_quota_is_kept_from_the_first_picture_on(place):
    async def use():
        async with opened(*place) as store:
            await put_all(store, *(f"{i}.png" for i in range(9)))
        async with opened(*place, max_bytes=20) as store:
            await put_all(store, "new.png")
        assert len(files_of(*place)) == 2

    asyncio.run(use())


def test_the_order_survives_a_restart(tmp_path):
    async def use():
        async with opened(str(tmp_path)) as store:
            await put_all(store, "c.png", "b.png", "a.png")
        for age, name in enumerate("abc"):
            os.utime(tmp_path / FOLDER / f"{name}.png", (1e9 - age, 1e9 - age))
        async with opened(str(tmp_path), max_bytes=25) as store:
            await put_all(store, "d.png")
        assert files_of(str(tmp_path), {}) == {"a.png", "d.png"}

    asyncio.run(use())


def test_others_files_are_neither_counted_nor_deleted(place):
    filesystem, root = fsspec.core.url_to_fs(place[0], **place[1])
    filesystem.makedirs(root, exist_ok=True)
    filesystem.pipe_file(f"{root}/thesis.pdf", b"x" * 1000)

    async def use():
        async with opened(*place, max_bytes=10) as store:
            await put_all(store, "a.png", "b.png")
            assert store.n_bytes == 10

    asyncio.run(use())
    assert filesystem.cat_file(f"{root}/thesis.pdf") == b"x" * 1000


STRAY_KEYS = ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", ".a", "a/.b", "a\\..\\b", "a\0b", "a b"]
STRAY_KEYS += ["a?b", "a#b", "a*", "é", "a\n", "a" * 201, "/".join(["a"] * 500)]


@pytest.mark.parametrize("key", STRAY_KEYS)
def test_nothing_is_kept_under_a_key_that_may_lead_astray(tmp_path, key):
    async def use():
        async with opened(str(tmp_path / "images"), public_url="http://x/") as store:
            await put_all(store, key)
            assert await store.get(key) is None
            assert await store.public_url(key) is None
            assert (store.n_pictures, store.n_failures) == (0, 0)

    asyncio.run(use())
    assert not list(tmp_path.rglob("*"))


def test_public_urls_are_told_of_pictures_that_are_kept(place):
    async def use():
        async with opened(*place, public_url="https://images.example/x/") as store:
            assert await store.public_url("a%b.png") is None
            await put_all(store, "a%b.png")
            assert await store.public_url("a%b.png") == f"https://images.example/x/{FOLDER}/a%25b.png"
        async with opened(*place) as store:
            await store.get("a%b.png")
            assert await store.public_url("a%b.png") is None

    asyncio.run(use())


def test_objects_in_a_bucket_say_what_they_are(s3):
    bucket = s3.bucket()

    async def use():
        async with opened(f"s3://{bucket}", s3.options, public_url=f"{s3.url}/{bucket}/") as store:
            await store.put(KEY, b"GIF89a", "image/gif")
            await asyncio.gather(*store._writing.values())
            return await store.public_url(KEY)

    fsspec.filesystem("s3", **s3.options).chmod(bucket, acl="public-read")
    with urlopen(asyncio.run(use())) as answer:  # noqa: S310 - the server on loopback
        assert answer.read() == b"GIF89a"
        assert answer.headers["Content-Type"] == "image/gif"
        assert "immutable" in answer.headers["Cache-Control"]


def test_signed_urls_of_a_private_bucket(s3):
    bucket = s3.bucket()

    async def use():
        async with opened(f"s3://{bucket}/a", s3.options, sign_seconds=900) as store:
            assert store.find_site() == s3.url
            assert await store.public_url("x y.png") is None
            await put_all(store, "a%b.png", body=b"picture")
            return await store.public_url("a%b.png")

    url = asyncio.run(use())
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    assert f"{parts.scheme}://{parts.netloc}" == s3.url
    lasts = int(asked["Expires"][0]) - time.time() if "Expires" in asked else int(asked["X-Amz-Expires"][0])
    assert 600 < lasts <= 900
    with urlopen(url) as answer:  # noqa: S310 - the server on loopback
        assert answer.read() == b"picture"


def test_urls_that_nobody_can_sign(tmp_path):
    async def use():
        async with opened(str(tmp_path), sign_seconds=900) as store:
            with pytest.raises(ValueError, match=r"^image_store_sign: NotImplementedError"):
                store.find_site()

    asyncio.run(use())


class FaultyFileSystem(MemoryFileSystem):
    """Files in memory, behind a gate, and errors on demand."""

    protocol = "faulty"
    gate = threading.Event()
    error = None

    def _pass(self):
        assert self.gate.wait(300)
        if self.error is not None:
            raise self.error

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._pass()
        return super().cat_file(path, start, end, **kwargs)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._pass()
        super().pipe_file(path, value, mode, **kwargs)

    def rm_file(self, path):
        self._pass()
        super().rm_file(path)

    def find(self, path, *args, **kwargs):
        self._pass()
        return super().find(path, *args, **kwargs)


@pytest.fixture
def faulty():
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.gate.set()
    yield FaultyFileSystem
    FaultyFileSystem.error = None
    FaultyFileSystem.gate.set()


def url_of_faulty():
    return f"faulty://images{next(_numbers)}"


@pytest.mark.parametrize(
    "error", [OSError("no space left"), PermissionError("denied"), RuntimeError("a library's own")], ids=repr
)
def test_a_store_that_fails_is_left_alone_for_a_while(faulty, monkeypatch, caplog, error):
    async def use():
        async with opened(url_of_faulty()) as store:
            await put_all(store, "a.png")
            faulty.error = error
            assert await store.get("a.png") is None
            assert store.n_failures == 1
            assert str(error) in caplog.text
            faulty.error = None
            await put_all(store, "b.png")
            assert await kept(store, "a.png", "b.png") == []  # it rests
            assert store.n_failures == 1
            monkeypatch.setattr(store, "_rests_until", 0.0)
            await put_all(store, "b.png")
            assert await kept(store, "a.png", "b.png") == ["a.png", "b.png"]

    asyncio.run(use())


def test_pictures_that_cannot_be_written_are_not_counted(faulty, monkeypatch):
    monkeypatch.setattr(imagestore, "REST_SECONDS", 0.0)

    async def use():
        async with opened(url_of_faulty(), public_url="http://x/", max_bytes=25) as store:
            await put_all(store, "a.png", "b.png")
            faulty.error = OSError("no")
            await put_all(store, "c.png")  # b.png would have to go first
            assert (store.n_pictures, store.n_bytes) == (2, 20)
            assert await store.public_url("c.png") is None
            faulty.error = None
            await put_all(store, "d.png")
            assert await kept(store, "a.png", "b.png", "c.png", "d.png") == ["b.png", "d.png"]

    asyncio.run(use())


def test_without_a_listing_nothing_is_written_until_there_is_one(faulty, monkeypatch):
    monkeypatch.setattr(imagestore, "REST_SECONDS", 0.0)

    async def use():
        async with opened(url_of_faulty()) as store:
            faulty.error = OSError("no")
            await put_all(store, "a.png")
            faulty.error = None
            assert await store.get("a.png") is None
            await put_all(store, "a.png")
            assert await store.get("a.png") is not None

    asyncio.run(use())


def test_a_store_that_hangs_is_not_waited_for(faulty, monkeypatch):
    async def use():
        async with opened(url_of_faulty()) as store:
            await put_all(store, "a.png")
            monkeypatch.setattr(imagestore, "ANSWER_SECONDS", 0.01)
            faulty.gate.clear()
            assert await store.get("a.png") is None
            assert store.n_failures == 1
            faulty.gate.set()

    asyncio.run(use())


def test_writing_holds_up_neither_the_one_who_puts_nor_many_pictures_in_memory(faulty):
    async def use():
        async with opened(url_of_faulty(), public_url="http://x/") as store:
            faulty.gate.clear()
            for i in range(100):
                await store.put(f"{i}.png", b"x", "image/png")
            assert len(store._writing) == imagestore.MAX_WRITES
            assert await store.public_url("0.png") is None
            faulty.gate.set()
            await asyncio.gather(*store._writing.values())
            assert store.n_pictures == imagestore.MAX_WRITES
            assert await store.public_url("0.png") is not None

    asyncio.run(use())


def test_the_end_waits_for_pictures_that_are_being_written(faulty):
    url = url_of_faulty()

    async def use():
        async with opened(url) as store:
            for i in range(20):
                await store.put(f"{i}.png", b"x", "image/png")

    asyncio.run(use())
    assert len(files_of(url, {})) == 20


def test_a_folder_that_is_a_file_fails_no_answer(tmp_path, caplog):
    (tmp_path / "images").write_text("not a folder")

    async def use():
        async with opened(str(tmp_path / "images")) as store:
            await put_all(store, "a.png")
            assert await store.get("a.png") is None
            assert store.n_failures == 1

    asyncio.run(use())
    assert "not used for" in caplog.text


def test_pictures_that_others_deleted_are_no_longer_counted(place):
    async def use():
        async with opened(*place) as store:
            await put_all(store, "a.png", "b.png")
            filesystem, root = fsspec.core.url_to_fs(place[0], **place[1])
            filesystem.rm_file(f"{root}/{FOLDER}/a.png")
            assert await kept(store, "a.png", "b.png") == ["b.png"]
            assert store.n_bytes == 10

    asyncio.run(use())


def test_readers_see_all_of_a_picture_or_nothing(tmp_path):
    bodies = [bytes([i]) * 300_000 for i in range(20)]

    async def use():
        async with opened(str(tmp_path), max_bytes=1 << 24) as store:
            seen = set()
            writing = asyncio.create_task(put_bodies(store))
            while not writing.done():
                seen.add(await store.get("a.png"))
            return seen

    async def put_bodies(store):
        for body in bodies:
            await put_all(store, "a.png", body=body)

    assert asyncio.run(use()) <= {None, *bodies}


@pytest.mark.parametrize("state", ["not kept", "at rest"])
def test_answers_without_a_request_let_others_run(tmp_path, state):
    async def use():
        async with opened(str(tmp_path)) as store:
            await put_all(store, "a.png")
            key = "b.png"
            if state == "at rest":
                key, store._rests_until = "a.png", float("inf")
            others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
            for _ in range(5):
                assert await store.get(key) is None
            assert all(other.done() for other in others)

    asyncio.run(use())


def test_what_a_killed_writer_left_goes(tmp_path):
    old, fresh, other = (tmp_path / FOLDER / "v1" / name for name in (".aa.part", ".bb.part", "x.part"))
    old.parent.mkdir(parents=True)
    for path in (old, fresh, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (time.time() - 7200,) * 2)

    async def use():
        async with opened(str(tmp_path)) as store:
            await put_all(store, "a.png")
            assert store.n_pictures == 2

    asyncio.run(use())
    assert [path.exists() for path in (old, fresh, other)] == [False, True, True]


def test_a_picture_costs_two_requests(s3):
    url = f"s3://{s3.bucket()}/images"

    async def use():
        async with opened(url, s3.options) as store:
            await put_all(store, "a.png")  # after a listing
            s3.requests.clear()
            await put_all(store, "b.png")
            s3.assert_asked(PUT=2)
            await store.get("a.png")
            s3.assert_asked(PUT=2, GET=2)
            await store.get("c.png")
            s3.assert_asked(PUT=2, GET=3)

    asyncio.run(use())


def test_a_listing_that_hangs_does_not_hold_up_the_end(faulty, monkeypatch):
    monkeypatch.setattr(imagestore, "CLOSE_SECONDS", 0.01)

    async def use():
        async with opened(url_of_faulty()) as store:
            faulty.gate.clear()
            await store.put("a.png", b"x", "image/png")
        assert not store._writing

    asyncio.run(use())


def test_many_at_once_keep_the_quota(tmp_path):
    async def one(store, i):
        await store.put(f"{i % 50}.png", bytes(i), "image/png")
        await asyncio.sleep(0)
        await store.get(f"{(i * 7) % 50}.png")

    async def use():
        async with opened(str(tmp_path), max_bytes=2000) as store:
            await put_all(store, "first.png")
            for begin in range(0, 300, 30):
                await asyncio.gather(*(one(store, i) for i in range(begin, begin + 30)))
            await asyncio.gather(*store._writing.values())
            sizes = {path.name: path.stat().st_size for path in (tmp_path / FOLDER).iterdir()}
            assert sum(sizes.values()) <= 2000
            assert store.n_failures == 0

    asyncio.run(use())


@given(st.lists(st.tuples(st.sampled_from("pg"), st.sampled_from("abcde"), st.integers(0, 12)), max_size=30))
def test_it_is_a_cache_of_the_least_recently_used(steps):
    async def use():
        model = OrderedDict()
        async with opened(f"memory://images{next(_numbers)}", max_bytes=20) as store:
            for step, key, size in steps:
                if step == "p":
                    await put_all(store, key, body=bytes(size))
                    model[key] = size
                    model.move_to_end(key)
                    while sum(model.values()) > 20:
                        model.popitem(last=False)
                else:
                    body = await store.get(key)
                    assert (None if body is None else len(body)) == model.get(key)
                    if key in model:
                        model.move_to_end(key)
            assert (store.n_bytes, store.n_pictures) == (sum(model.values()), len(model))

    asyncio.run(use())


@pytest.mark.parametrize("n_kept", [0, 5, 9])
def test_what_was_cut_off_is_none(place, n_kept):
    async def use():
        async with opened(*place, public_url="http://x/") as store:
            await put_all(store, "a.png")
            filesystem, root = fsspec.core.url_to_fs(place[0], **place[1])
            filesystem.pipe_file(f"{root}/{FOLDER}/a.png", b"0123456789"[:n_kept])
            assert await store.get("a.png") is None
            assert await store.public_url("a.png") is None
            await put_all(store, "a.png")
            assert await store.get("a.png") == b"0123456789"
            assert store.n_failures == 0

    asyncio.run(use())


def test_what_was_changed_or_never_proved_is_none(place):
    async def use():
        async with opened(*place) as store:
            await put_all(store, "a.png")
            filesystem, root = fsspec.core.url_to_fs(place[0], **place[1])
            filesystem.pipe_file(f"{root}/{FOLDER}/a.png", b"0123456780")
            filesystem.pipe_file(f"{root}/{FOLDER}/b.png", b"0123456789")
            assert await kept(store, "a.png", "b.png") == []

    asyncio.run(use())


def test_two_stores_in_one_place_find_what_the_other_keeps(place):
    async def use():
        async with opened(*place) as one, opened(*place) as two:
            await put_all(one, "a.png")
            assert await two.get("b.png") is None
            await put_all(one, "b.png")
            assert await kept(two, "a.png", "b.png") == ["a.png", "b.png"]

    asyncio.run(use())


def test_one_quota_holds_for_two_stores(place):
    async def use():
        async with opened(*place, max_bytes=100) as one, opened(*place, max_bytes=100) as two:
            for i in range(12):
                await put_all(one if i % 2 else two, f"{i}.png")
            assert len(files_of(*place)) <= 10
            assert max(one.n_bytes, two.n_bytes) <= 100

    asyncio.run(use())


def test_a_file_is_made_once_by_all_who_share_store_and_cache(tmp_path):
    """Each of these has locks of its own, as processes have."""
    begun, keys = [], [f"{i}.png" for i in range(5)]

    async def use():
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(opened(str(tmp_path / "store"))) for _ in range(3)]
            files = [MadeFiles(store, 1 << 20, tmp_path / "lock") for store in stores]

            async def make(key):
                begun.append(key)
                await asyncio.sleep(0.05)
                return MadeFile(key.encode(), "image/png")

            found = await asyncio.gather(
                *(f.find(key, partial(make, key), content_type="image/png") for key in keys for f in files)
            )
            assert [made.body.decode() for made in found] == [key for key in keys for _ in files]

    asyncio.run(use())
    assert sorted(begun) == keys


def test_a_maker_that_fails_leaves_the_work_to_the_next(tmp_path):
    async def use():
        async with opened(str(tmp_path / "store")) as one, opened(str(tmp_path / "store")) as two:
            first, second = (MadeFiles(store, 1 << 20, tmp_path / "lock") for store in (one, two))

            begun = asyncio.Event()

            async def fail():
                begun.set()
                await asyncio.sleep(0.05)
                raise ValueError

            async def make():
                return MadeFile(b"x", "image/png")

            failing = asyncio.create_task(first.find("a.png", fail, content_type="image/png"))
            await begun.wait()
            assert (await second.find("a.png", make, content_type="image/png")).body == b"x"
            with pytest.raises(ValueError):
                await failing

    asyncio.run(use())
