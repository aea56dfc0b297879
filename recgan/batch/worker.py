"""The inside of a worker of the engine "local"."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue

from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.batch.job import Job
from recgan.batch.shards import write_shard
from recgan.errors import RecganError


@dataclass(frozen=True)
class Done:
    """A worker has finished its shard."""


def main(descriptor: int) -> None:
    """Make the shards whose numbers come through a connection until it is closed, and tell how far it is.

    Args:
        descriptor: of the connection; an Assignment comes first.
    """
    connection = Connection(descriptor)
    try:
        assignment: Assignment = connection.recv()
        shards: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=_listen, args=(connection, shards), daemon=True).start()
        _work(connection, assignment, shards)
    except (EOFError, ConnectionError):
        os._exit(1)


def _listen(connection: Connection, shards: SimpleQueue[int]) -> None:
    """Hear about shards; when the driver hangs up or dies, end the process at once."""
    try:
        while True:
            shards.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def _work(connection: Connection, assignment: Assignment, shards: SimpleQueue[int]) -> None:
    try:
        job: Job = assignment.job()
        while True:
            write_shard(job, shards.get(), assignment.folder, connection.send)
            connection.send(Done())
    except ConnectionError:
        raise
    except BaseException as error:
        _tell(connection, Failure.of(error))


def _tell(connection: Connection, failure: Failure) -> None:
    try:
        connection.send(failure)
    except Exception:  # what it holds cannot be sent
        connection.send(Failure(RecganError, (failure.summary(),), failure.text))
