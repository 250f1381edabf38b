"""Limits: fair queues, the memory budget, and work that is stopped."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from camhd_access.server.limits import CLIENT, ByteBudget, Gate, Workers
from camhd_access.server.problems import Problem
from camhd_access.stopping import check_stopped


async def pass_through(gate, client, passed, go_on):
    """Pass the gate as a client, and hold the place until told."""
    CLIENT.set(client)
    async with gate:
        passed.append(client)
        await go_on.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def start(gate, clients, passed, go_on):
    return [asyncio.create_task(pass_through(gate, each, passed, go_on)) for each in clients]


def test_clients_take_turns():
    async def run():
        gate, passed, go_on = Gate(1, 100), [], asyncio.Event()
        tasks = start(gate, ["a"] * 8 + ["b", "c"], passed, go_on)
        await settle()
        assert (passed, gate.n_running, gate.n_waiting) == (["a"], 1, 9)
        go_on.set()
        await asyncio.gather(*tasks)
        assert sorted(passed[1:4]) == ["a", "b", "c"]
        assert Counter(passed) == {"a": 8, "b": 1, "c": 1}
        assert (gate.n_running, gate.n_waiting, gate.n_passed) == (0, 0, 10)

    asyncio.run(run())


def test_a_full_queue_takes_places_from_who_has_most():
    async def run():
        gate, passed, go_on = Gate(1, 4), [], asyncio.Event()
        greedy = start(gate, ["a"] * 6, passed, go_on)
        await settle()
        assert isinstance(greedy[5].exception(), Problem)  # its own fifth in the queue
        (honest,) = start(gate, ["b"], passed, go_on)
        await settle()
        assert isinstance(greedy[4].exception(), Problem)
        assert gate.is_full
        go_on.set()
        await honest
        await asyncio.gather(*greedy[:4])
        assert passed.index("b") <= 2
        assert gate.n_refused == 2
        assert not gate.is_full

    asyncio.run(run())


def test_who_leaves_the_queue_holds_up_nobody():
    async def run():
        gate, passed, go_on = Gate(1, 9), [], asyncio.Event()
        first, second, third = start(gate, ["a", "b", "c"], passed, go_on)
        await settle()
        second.cancel()
        await settle()
        assert gate.n_waiting == 1
        go_on.set()
        await asyncio.gather(first, third)
        assert passed == ["a", "c"]
        async with gate:  # the place is free again
            assert gate.n_running == 1

    asyncio.run(run())


def test_a_place_given_to_who_leaves_at_that_moment_is_not_lost():
    async def run():
        gate, passed, go_on = Gate(1, 9), [], asyncio.Event()
        await gate.__aenter__()
        second, third = start(gate, ["b", "c"], passed, go_on)
        await settle()
        await gate.__aexit__(None, None, None)  # the turn of the second, who has not noticed
        second.cancel()
        await settle()
        assert passed == ["c"]
        go_on.set()
        await third

    asyncio.run(run())


def test_one_client_holds_a_quarter_of_the_memory_for_answers():
    budget = ByteBudget(100)
    with budget.hold(20):
        CLIENT.set("greedy")
        with budget.hold(20), pytest.raises(Problem), budget.hold(10):
            pass
        with budget.hold(40):  # alone, a large one
            CLIENT.set("honest")
            with budget.hold(25):
                assert budget.n_bytes == 85
            CLIENT.set("late")
            with pytest.raises(Problem), budget.hold(45):
                pass
    CLIENT.set("")
    assert budget.n_bytes == 0


def test_long_work_stops_when_its_caller_is_cancelled():
    steps, is_running = [], threading.Event()

    def work():
        for i in range(10**6):
            check_stopped()
            steps.append(i)
            is_running.set()
            time.sleep(0.001)

    async def run():
        workers = Workers(1, 1, "test")
        task = asyncio.create_task(workers.run(work))
        await asyncio.to_thread(is_running.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workers.gate.n_running == 0
        assert await workers.run(len, "next") == 4
        await workers.aclose()

    asyncio.run(run())
    assert len(steps) < 10**6


def test_what_takes_no_memory_is_not_counted():
    budget = ByteBudget(100)
    CLIENT.set("a")
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(budget.hold(0))
        second.enter_context(budget.hold(0))
        first.close()
        with budget.hold(100), budget.hold(0):
            assert budget.n_bytes == 100
