"""The thread pool: cheap for short jobs, generous to jobs that block."""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from flask_socketio_core.contracts.concurrency import threads
from flask_socketio_core.contracts.concurrency.threads import AWAKE_AT_FIRST, ThreadPool
from support.servers import wait_until

SOON_S = 5.0


@pytest.fixture
def make_pool() -> Iterator[Callable[..., ThreadPool]]:
    """Make pools, and end their threads after the test."""
    pools: list[ThreadPool] = []

    def make(max_workers: int = 1000, on_saturated: Callable[[], object] = lambda: None) -> ThreadPool:
        pools.append(ThreadPool(max_workers, on_saturated))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        assert wait_until(partial(has_threads, pool, 0), timeout_s=SOON_S)


def has_threads(pool: ThreadPool, count: int) -> bool:
    """Say whether a pool has so many threads."""
    return pool.threads == count


def wait_and_note(wait: Callable[[], object], done: list[int], number: int) -> None:
    """Wait, then note a number."""
    wait()
    done.append(number)


def test_short_jobs_wake_few_threads(make_pool: Callable[..., ThreadPool]) -> None:
    pool, done = make_pool(), list[int]()
    for number in range(5000):
        pool.submit(partial(done.append, number))
    assert wait_until(lambda: len(done) == 5000, timeout_s=SOON_S)
    assert pool.threads <= 2 * AWAKE_AT_FIRST


def test_blocked_jobs_bring_more_threads_within_moments(make_pool: Callable[..., ThreadPool]) -> None:
    pool, gate, ran = make_pool(), threading.Event(), threading.Event()
    for _ in range(200):
        pool.submit(lambda: gate.wait(SOON_S))
    before_s = time.monotonic()
    pool.submit(ran.set)
    assert ran.wait(SOON_S)
    assert time.monotonic() - before_s < 1.0
    assert pool.threads > 200
    gate.set()


def test_jobs_that_block_get_threads_although_the_processor_is_busy(
    make_pool: Callable[..., ThreadPool],
) -> None:
    pool = make_pool(100)
    finished = threading.Semaphore(0)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            pass

    def block() -> None:
        time.sleep(0.02)
        finished.release()

    hog = threading.Thread(target=keep_busy)
    hog.start()
    try:
        for _ in range(300):
            pool.submit(block)
        assert all(finished.acquire(timeout=20) for _ in range(300))
        assert pool.threads > 2 * AWAKE_AT_FIRST
    finally:
        stop.set()
        hog.join()


def test_an_idle_pool_ends_its_threads(
    make_pool: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "IDLE_S", 0.05)
    pool, done = make_pool(), list[int]()
    for number in range(20):
        pool.submit(partial(wait_and_note, partial(time.sleep, 0.02), done, number))
    assert wait_until(lambda: len(done) == 20, timeout_s=SOON_S)
    assert wait_until(lambda: pool.threads == 0, timeout_s=SOON_S)
    pool.submit(lambda: done.append(20))
    assert wait_until(lambda: len(done) == 21, timeout_s=SOON_S)


def test_the_maximum_holds_and_saturation_is_told_once(make_pool: Callable[..., ThreadPool]) -> None:
    told: list[str] = []
    pool, gate, done = make_pool(3, lambda: told.append("full")), threading.Event(), list[int]()
    for number in range(12):
        pool.submit(partial(wait_and_note, partial(gate.wait, SOON_S), done, number))
    assert wait_until(lambda: told == ["full"], timeout_s=SOON_S)
    assert pool.threads == 3
    gate.set()
    assert wait_until(lambda: len(done) == 12, timeout_s=SOON_S)
    assert told == ["full"]


def test_saturation_is_told_again_after_the_pool_was_idle(make_pool: Callable[..., ThreadPool]) -> None:
    told: list[str] = []
    pool = make_pool(1, lambda: told.append("full"))
    for expected in (["full"], ["full"] * 2):
        gate = threading.Event()
        pool.submit(partial(gate.wait, SOON_S))
        pool.submit(lambda: None)
        assert wait_until(partial(operator.eq, told, expected), timeout_s=SOON_S)
        gate.set()
        assert wait_until(lambda: not pool._awake, timeout_s=SOON_S)


def test_no_job_is_lost_between_many_submitters(make_pool: Callable[..., ThreadPool]) -> None:
    pool, done = make_pool(), list[int]()

    def submit() -> None:
        for number in range(2000):
            pool.submit(partial(done.append, number))
            if number % 50 == 0:
                time.sleep(0.0005)  # workers fall asleep and are woken again and again

    submitters = [threading.Thread(target=submit) for _ in range(4)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join(SOON_S)
    assert wait_until(lambda: len(done) == 8000, timeout_s=SOON_S)


def test_a_forked_child_has_a_pool_of_its_own(make_pool: Callable[..., ThreadPool]) -> None:
    pool, gate = make_pool(), threading.Event()
    for _ in range(AWAKE_AT_FIRST):
        pool.submit(lambda: gate.wait(SOON_S))
    child = os.fork()
    if child == 0:
        ran = threading.Event()
        pool.submit(ran.set)
        os._exit(0 if ran.wait(SOON_S) else 1)
    _, status = os.waitpid(child, 0)
    gate.set()
    assert os.waitstatus_to_exitcode(status) == 0


def submit_as_helper(pool: ThreadPool, *jobs: Callable[[], object]) -> None:
    """Submit jobs as a thread that will help."""
    with pool.helper():
        for job in jobs:
            pool.submit(job)


def test_a_helping_thread_runs_short_jobs_itself_and_in_order(make_pool: Callable[..., ThreadPool]) -> None:
    pool, ran = make_pool(), list[tuple[int, int]]()
    submit_as_helper(
        pool, *(partial(lambda number: ran.append((number, threading.get_ident())), n) for n in range(9))
    )
    assert ran == [], "nothing runs before the callback is done"
    assert pool.help(lambda: None)
    assert ran == [(number, threading.get_ident()) for number in range(9)]
    assert pool.threads == 0


def test_a_helper_that_a_job_blocks_is_relieved_and_the_rest_runs_elsewhere(
    make_pool: Callable[..., ThreadPool],
) -> None:
    pool, gate, rest, relieved = make_pool(), threading.Event(), threading.Event(), threading.Event()

    def finish() -> None:
        assert relieved.wait(SOON_S)
        assert rest.wait(SOON_S)
        gate.set()

    other = threading.Thread(target=finish)
    other.start()
    submit_as_helper(pool, lambda: gate.wait(SOON_S), rest.set)
    assert not pool.help(relieved.set), "its own work is in other hands"
    other.join()


def test_a_blocked_helper_is_relieved_although_others_take_jobs(make_pool: Callable[..., ThreadPool]) -> None:
    pool, relieved = make_pool(), threading.Event()

    def feed() -> None:
        while not relieved.wait(0.001) and other_jobs.is_set():
            pool.submit(lambda: None)

    other_jobs = threading.Event()
    other_jobs.set()
    other = threading.Thread(target=feed)
    submit_as_helper(pool, other.start, lambda: relieved.wait(SOON_S))
    still_helping = pool.help(relieved.set)
    other_jobs.clear()
    other.join()
    assert not still_helping, "its own work is in other hands"


def test_a_helper_whom_no_thread_can_relieve_goes_on_after_its_job(
    make_pool: Callable[..., ThreadPool],
) -> None:
    pool, refused, ran = make_pool(), threading.Event(), threading.Event()

    def refuse() -> None:
        refused.set()
        raise RuntimeError("can't start new thread")

    submit_as_helper(pool, lambda: refused.wait(SOON_S))
    assert pool.help(refuse), "its own work is still its own"
    for _ in range(10 * AWAKE_AT_FIRST):
        pool.submit(lambda: ran.wait(SOON_S))
    pool.submit(ran.set)
    assert ran.wait(SOON_S), "blocked jobs still bring more threads"


def test_after_a_block_the_jobs_go_to_the_pool_for_a_while(
    make_pool: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE_S", 60.0)
    pool, relieved, idents = make_pool(), threading.Event(), list[int]()
    submit_as_helper(pool, lambda: relieved.wait(SOON_S))
    assert not pool.help(relieved.set)
    submit_as_helper(pool, *(lambda: idents.append(threading.get_ident()) for _ in range(20)))
    assert pool.help(relieved.set)
    assert wait_until(lambda: len(idents) == 20, timeout_s=SOON_S)
    assert threading.get_ident() not in idents


def test_more_blocking_jobs_than_threads_awake_bring_more_threads_after_a_block(
    make_pool: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE_S", 60.0)
    pool, relieved, gate, done = make_pool(), threading.Event(), threading.Event(), list[int]()
    submit_as_helper(pool, lambda: relieved.wait(SOON_S))
    assert not pool.help(relieved.set)
    assert wait_until(lambda: not pool._supervised, timeout_s=SOON_S), "nobody watches any more"
    submit_as_helper(pool, *(partial(wait_and_note, partial(gate.wait, SOON_S), done, n) for n in range(12)))
    assert pool.help(relieved.set)
    assert wait_until(lambda: pool.threads == 12, timeout_s=SOON_S)
    gate.set()
    assert wait_until(lambda: len(done) == 12, timeout_s=SOON_S)


def test_a_job_that_comes_when_the_number_awake_is_lowered_is_run(
    make_pool: Callable[..., ThreadPool],
) -> None:
    pool, gate, ran = make_pool(), threading.Event(), threading.Event()
    for _ in range(AWAKE_AT_FIRST):
        pool.submit(lambda: gate.wait(3 * SOON_S))
    assert wait_until(lambda: not pool._jobs and not pool._supervised, timeout_s=SOON_S)
    pool._target, pool._next_decay_s = AWAKE_AT_FIRST + 1, 0.0
    pool.submit(ran.set)
    assert ran.wait(SOON_S)
    gate.set()


def test_a_helper_counts_as_a_worker(make_pool: Callable[..., ThreadPool]) -> None:
    pool, gate, ran = make_pool(max_workers=1), threading.Event(), list[str]()
    pool.submit(lambda: gate.wait(SOON_S))
    submit_as_helper(pool, lambda: ran.append("late"))
    assert pool.help(lambda: None)
    assert ran == [], "the only worker is busy"
    gate.set()
    assert wait_until(lambda: ran == ["late"], timeout_s=SOON_S)


def test_what_is_more_than_a_helper_s_batch_goes_to_the_pool_at_once(
    make_pool: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "STALL_S", 2 * SOON_S)  # the supervisor would come too late
    pool, ran = make_pool(), list[int]()
    submit_as_helper(pool, *(partial(ran.append, number) for number in range(threads.HELP_BATCH + 20)))
    assert pool.help(lambda: None)
    assert wait_until(lambda: len(ran) == threads.HELP_BATCH + 20, timeout_s=SOON_S)
