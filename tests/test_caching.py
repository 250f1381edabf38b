"""The LRU cache keeps its limit, and single flight shares work."""

import asyncio
import os
import threading

import pytest

from camhd_access.caching import LRUCache, SingleFlight


def test_the_least_recently_used_goes_first():
    cache = LRUCache(3)
    for key in "abc":
        cache.keep(key, key.upper())
    assert cache.find("a") == "A"
    cache.keep("d", "D")
    assert [cache.find(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert (len(cache), cache.weight, cache.n_asked, cache.n_missed) == (3, 3, 5, 1)


def test_weights_are_bounded_and_what_is_too_heavy_is_not_kept():
    cache = LRUCache(100)
    cache.keep("a", 1, 20)
    cache.keep("a", 2, 25)
    cache.keep("b", 3, 26)  # more than a quarter
    assert (cache.find("a"), cache.find("b"), cache.weight) == (2, None, 25)
    for key in range(10):
        cache.keep(key, key, 25)
    assert (len(cache), cache.weight) == (4, 100)
    cache.drop(9)
    cache.drop(9)
    assert (cache.find(9), cache.weight) == (None, 75)


def test_a_del_that_looks_something_up_within_a_look_up_does_not_wait():
    """A garbage collection may run any `__del__` within any call, in the same thread."""
    cache = LRUCache(8)

    class Key:
        __hash__ = object.__hash__

        def __eq__(self, other):
            return cache.find("a") == 1

    key = Key()
    cache.keep("a", 1)
    cache.keep(_with_hash_of(key), 2)
    reader = threading.Thread(target=cache.find, args=(key,), daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive()


def _with_hash_of(key):
    return type("Same", (), {"__hash__": lambda _: hash(key), "__eq__": lambda _, other: NotImplemented})()


def test_threads_share_a_cache():
    cache = LRUCache(8)

    def work(seed):
        for i in range(3000):
            cache.keep((seed * i) % 23, i)
            cache.find(i % 23)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.weight == len(cache) == 8


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_cache_that_was_locked_when_the_process_forked_is_usable_in_the_child():
    cache = LRUCache(8)
    with cache._lock:
        child = os.fork()
        if not child:
            cache.keep("a", 1)
            os._exit(0 if cache.find("a") == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_callers_share_work_that_is_in_flight():
    async def main():
        flight, n_started = SingleFlight(), 0
        go_on = asyncio.Event()

        async def start():
            nonlocal n_started
            n_started += 1
            await go_on.wait()
            return n_started

        callers = [asyncio.create_task(flight.share("a", start)) for _ in range(5)]
        await asyncio.sleep(0)
        callers[0].cancel()
        await asyncio.sleep(0)
        assert len(flight) == 1
        go_on.set()
        assert await asyncio.gather(*callers[1:]) == [1] * 4
        assert len(flight) == 0
        assert await flight.share("a", start) == 2

    asyncio.run(main())


def test_of_many_keys_only_those_not_in_flight_are_started():
    async def main():
        flight, started = SingleFlight(), []
        go_on = asyncio.Event()

        async def start(keys):
            started.append(list(keys))
            await go_on.wait()
            return {key: key * 10 for key in keys}

        first = asyncio.create_task(flight.share_all([1, 2, 1], start))
        await asyncio.sleep(0)
        second = asyncio.create_task(flight.share_all([2, 3], start))
        await asyncio.sleep(0)
        go_on.set()
        assert (await first, await second, started) == ([10, 20, 10], [20, 30], [[1, 2], [3]])

    asyncio.run(main())


def test_an_error_reaches_all_who_share_and_is_not_kept():
    async def main():
        flight = SingleFlight()

        async def fail():
            await asyncio.sleep(0)
            raise ValueError("broken")

        answers = await asyncio.gather(*(flight.share(0, fail) for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["broken"] * 3
        assert len(flight) == 0

    asyncio.run(main())


def test_closing_cancels_what_is_in_flight():
    async def main():
        flight = SingleFlight()
        caller = asyncio.create_task(flight.share(0, asyncio.Event().wait))
        await asyncio.sleep(0)
        await flight.aclose()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(main())


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_abandoned", [True, False])
def test_work_that_nobody_waits_for_is_cancelled_where_it_was_asked_for(is_abandoned):
    async def run():
        flights, begun, ended, go_on = SingleFlight(is_abandoned=is_abandoned), [], [], asyncio.Event()

        async def work():
            begun.append(1)
            try:
                await go_on.wait()
            finally:
                ended.append(1)
            return "done"

        first, second = (asyncio.create_task(flights.share("key", work)) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        assert (begun, ended) == ([1], [])  # one still waits
        second.cancel()
        await settle()
        assert bool(ended) == is_abandoned
        third = asyncio.create_task(flights.share("key", work))
        await settle()
        assert len(begun) == (2 if is_abandoned else 1)
        go_on.set()
        assert await third == "done"
        assert len(flights) == 0

    asyncio.run(run())
