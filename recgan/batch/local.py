"""Engine "local": processes beside this one, each with the model and one thread, which end when this one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.batch.worker import Done
from recgan.errors import ConfigError, RecganError

ENTRY = "import sys; from recgan.batch.worker import main; main(int(sys.argv[1]))"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PATIENCE = 10.0
"""Seconds that a worker which has hung up may take to end."""


class Worker:
    """A process that makes shards: a fresh interpreter, which does not import the caller's script.

    Ctrl-C reaches it only through its driver, and when the driver is gone it ends at once.
    """

    def __init__(self) -> None:
        self.connection, other = Pipe()
        with other:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", ENTRY, str(other.fileno())],
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                process_group=0,
            )

    def send(self, message: Any) -> None:
        """Send an assignment or the number of a shard."""
        try:
            self.connection.send(message)
        except OSError:
            raise self._ended() from None

    def receive(self) -> Any:
        """The next message: a number of users, Done or Failure."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None

    def end(self) -> None:
        """End the process, whatever it does; a file that it has not finished is no file of the job."""
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _ended(self) -> RecganError:
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return RecganError("a worker hung up; finished shards are kept: run the job again to make the others")
        if code >= 0:
            return RecganError(
                f"a worker ended with exit code {code}, it may have said why on stderr; finished shards are kept: "
                "run the job again to make the others"
            )
        lacking = ", perhaps for lack of memory (fewer workers need less)" if code == -signal.SIGKILL else ""
        return RecganError(
            f"a worker was killed by {signal.Signals(-code).name}{lacking}; finished shards are kept: run the job "
            "again to make the others"
        )


def run(assignment: Assignment, shards: Sequence[int], workers: int, tick: Callable[[int], None]) -> None:
    """Make shards in several processes.

    Args:
        assignment: what is asked.
        shards: which shards.
        workers: how many processes.
        tick: called with the number of users that are done since the last call.

    Raises:
        ConfigError: where there is no POSIX system.
        RecganError: when a worker was killed, or what it raised itself.
    """
    if os.name != "posix":
        raise ConfigError("workers: more than one needs a POSIX system; choose workers=1, or engine='ray'")
    with ExitStack() as stack:
        pool = []
        for _ in range(workers):
            pool.append(Worker())
            stack.callback(pool[-1].end)
        for worker in pool:
            worker.send(assignment)
        _feed(pool, deque(shards), tick)


def _feed(pool: Sequence[Worker], waiting: deque[int], tick: Callable[[int], None]) -> None:
    """Give a shard to every worker that has none, until all are done."""
    busy: dict[Connection, Worker] = {}
    for worker in pool:
        _next(worker, waiting, busy)
    while busy:
        for ready in wait(list(busy)):
            worker = busy[ready]  # type: ignore[index]
            match worker.receive():
                case Done():
                    _next(worker, waiting, busy)
                case Failure() as failure:
                    raise failure.error()
                case users:
                    tick(users)


def _next(worker: Worker, waiting: deque[int], busy: dict[Connection, Worker]) -> None:
    if waiting:
        worker.send(waiting.popleft())
        busy[worker.connection] = worker
    else:
        busy.pop(worker.connection, None)
