"""One limit for all workers on the server of the movies: requests at once, requests a second, back-off."""

import asyncio
import socket
import time
from functools import partial

import dask
import pytest
from clusters import running_cluster
from surveyed import NAMES
from watched import watching

import camhd_access
from camhd_access import RemoteFileError, survey
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.permits import Permits, PermitServer
from camhd_access.surveys.limits import limiting

quiet = {"progress": False, "pix_fmt": "gray", "cache": False}


@pytest.fixture
def watched(written):
    """The movies on a slow web server that is watched; URLs of the good ones."""
    with watching(written, lambda path: 0.03) as watch:
        yield [f"{watch.url}{name}.mov" for name in NAMES[:3]], watch


def size(pictures, context):
    return len(pictures)


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(n_threads=2) as client:
        yield client


EVERYWHERE = ["threads", "processes", "cluster"]


@pytest.fixture(params=["threads", "cluster"])
def backend(request):
    """Options of `survey`, in a context, for each place where it runs."""
    if request.param == "cluster":
        yield {"client": request.getfixturevalue("cluster")}
    else:
        with dask.config.set(scheduler=request.param, num_workers=2):
            yield {}


@pytest.mark.parametrize("backend", EVERYWHERE, indirect=True)
def test_requests_at_once_of_all_workers_together(watched, backend, tmp_path):
    urls, watch = watched
    options = {"frames": [4, 8], "out": tmp_path / "out", **quiet, **backend}
    table = survey(size, urls, at_once=1, per_second=None, **options)
    assert table["error"].isna().all()
    assert len(table) == 3
    assert len(watch.starts) >= 6
    assert watch.most == 1


def test_requests_a_second_of_all_workers_together(watched, backend, tmp_path):
    urls, watch = watched
    begin = time.monotonic()
    options = {"every": 5, "group": 1, "out": tmp_path / "out", **quiet, **backend}
    assert survey(size, urls, at_once=None, per_second=20, **options)["error"].isna().all()
    n = len(watch.starts)
    assert n >= 3 * 3
    assert time.monotonic() - begin >= (n - 1) / 20


def test_a_crowd_of_workers_hears_of_the_back_off_of_one(watched, backend, tmp_path):
    """Nobody asks again before the second has passed that the server asked one of them to wait."""
    urls, watch = watched
    watch.n_refusals = 1
    options = {"frames": [1], "out": tmp_path / "out", **quiet, **backend}
    table = survey(size, urls, at_once=1, per_second=None, **options)
    assert table["error"].isna().all()
    assert watch.starts[1] - watch.starts[0] >= 1.0


def test_questions_for_versions_count_too(watched, backend, tmp_path):
    """Without sizes in a table, the server is asked whether movies that are done have changed."""
    urls, watch = watched
    options = {"frames": [4], "out": tmp_path / "out", **quiet, **backend}
    survey(size, urls, at_once=1, per_second=None, **options)
    n, begin = len(watch.starts), time.monotonic()
    again = survey(size, urls, at_once=1, per_second=10, **options)
    assert again.attrs["survey"].startswith("0 movies done, 0 failed, 3 skipped")
    assert len(watch.starts) == n + 3
    assert watch.most == 1
    assert watch.starts[-1] - begin >= 0.2
    camhd_access.survey.plan(
        size, urls, **{key: options[key] for key in ("frames", "out", "pix_fmt", "cache")}
    )
    assert len(watch.starts) == n + 6


def test_without_limits_there_is_no_server_of_permits(watched, tmp_path, monkeypatch):
    monkeypatch.setattr(PermitServer, "start", None)
    urls, _ = watched
    table = survey(size, urls, frames=1, out=tmp_path / "a", at_once=None, per_second=None, **quiet)
    assert table["error"].isna().all()


def test_a_range_of_a_distant_server_is_one_request(origin, monkeypatch):
    """Without a common limit several connections would bring it sooner."""
    monkeypatch.setattr("camhd_access.storage.lazyhttp.connections.REST_SECONDS", 0)
    url = origin.put("/movie", 2 << 20)
    with limiting(None, 16, None) as permits:
        filesystem = LazyHTTPFileSystem(skip_instance_cache=True, long_link_seconds=0, permits=permits)
        filesystem.cat_file(url, start=-1000)
        filesystem.cat_file(url, 0, 1 << 20, validator=filesystem.info(url)["validator"])
    assert origin.ranges == ["bytes=-1000", "bytes=0-1048575"]


@pytest.mark.parametrize("wrong", [{"at_once": 0}, {"at_once": 1.5}, {"per_second": 0}])
def test_wrong_limits(watched, tmp_path, wrong):
    with pytest.raises(ValueError, match="or None, not"):
        survey(size, watched[0], frames=1, out=tmp_path / "a", **wrong, **quiet)


# ---- the server of permits


@pytest.fixture
def run_with():
    """Runs a coroutine function with a new server and a function that makes clients."""

    def run(job, **limits):
        async def main():
            server = PermitServer(**{"at_once": 2, "per_second": float("inf")} | limits)
            port = await server.start("127.0.0.1")
            clients = []

            def connect(token=server.token):
                clients.append(Permits(f"127.0.0.1:{port}/{token}"))
                return clients[-1]

            try:
                await asyncio.wait_for(job(server, connect), 300)
            finally:
                for client in clients:
                    client.close()
                await server.aclose()

        asyncio.run(main())

    return run


def test_permits_are_shared_and_given_back(run_with):
    async def job(server, connect):
        a, b = connect(), connect()
        in_use, most = 0, 0

        async def use(permits):
            nonlocal in_use, most
            async with permits.permit():
                in_use += 1
                most = max(most, in_use)
                await asyncio.sleep(0.001)
                in_use -= 1

        await asyncio.gather(*(use(permits) for _ in range(20) for permits in (a, b)))
        assert most == 2
        assert server.n_granted == 40

    run_with(job)


def test_a_client_that_goes_away_blocks_nobody(run_with):
    async def job(server, connect):
        dying, other = connect(), connect()
        held = [dying.permit() for _ in range(2)]
        for permit in held:
            await permit.__aenter__()
        waiting = asyncio.create_task(other.permit().__aenter__())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        dying.close()
        await waiting

    run_with(job)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system cannot be asked")
def test_a_machine_that_is_cut_off_is_noticed(run_with):
    """It sends nothing, not even that its connection has ended; benchmarks/observatory.py pulls a cable."""

    async def job(server, connect):
        client = connect()
        async with client.permit():
            (peer,) = server._peers
            for end in (peer, client._connection):
                option = partial(end.transport.get_extra_info("socket").getsockopt, socket.IPPROTO_TCP)
                assert end.transport.get_extra_info("socket").getsockopt(
                    socket.SOL_SOCKET, socket.SO_KEEPALIVE
                )
                silent = option(socket.TCP_KEEPIDLE) + option(socket.TCP_KEEPINTVL) * option(
                    socket.TCP_KEEPCNT
                )
                assert silent <= 30
                assert option(socket.TCP_USER_TIMEOUT) <= 30_000

    run_with(job)


def test_who_gives_up_waiting_gets_none(run_with):
    async def job(server, connect):
        permits = connect()
        async with permits.permit():
            waiting = asyncio.create_task(permits.permit().__aenter__())
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.sleep(0.05)
        async with permits.permit():
            assert server.n_granted == 2

    run_with(job, at_once=1)


def test_a_pause_holds_everybody(run_with):
    async def job(server, connect):
        a, b = connect(), connect()
        loop = asyncio.get_running_loop()
        async with a.permit():
            a.pause(0.3)
            begin = loop.time()
        await asyncio.sleep(0.01)
        async with b.permit():
            assert loop.time() - begin >= 0.28

    run_with(job)


def test_a_stranger_gets_nothing(run_with):
    async def job(server, connect):
        with pytest.raises(RemoteFileError, match="server of permits"):
            async with connect("wrong").permit():
                pass
        assert server.n_granted == 0
        async with connect().permit():
            pass

    run_with(job)


def test_a_server_that_has_gone_is_an_error_that_says_so():
    permits = Permits("127.0.0.1:9/x")

    async def ask():
        async with permits.permit():
            pass

    with pytest.raises(RemoteFileError, match="the job that limits the requests has ended"):
        asyncio.run(ask())


def test_an_address_is_checked():
    with pytest.raises(ValueError, match="HOST:PORT/TOKEN"):
        LazyHTTPFileSystem(permits="127.0.0.1", skip_instance_cache=True)
    assert "secret" not in repr(LazyHTTPFileSystem(permits="a:1/secret")._client.settings)
