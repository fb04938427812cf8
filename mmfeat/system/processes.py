"""Worker processes on this machine."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any, Self, TypeVar

from mmfeat.errors import MmfeatError
from mmfeat.startup.streams import tolerate_lost_output
from mmfeat.system.entry import configure_logging
from mmfeat.system.fork_server import start_fork_server

_log = logging.getLogger("mmfeat")

T = TypeVar("T")

_STARTS = 3
"""Processes that are started for a task, if they end before they are ready for it."""

_SECONDS_BETWEEN_KILLS = 0.05

_READY = ""
"""The first message of a worker: it is ready for tasks."""

_MAX_ERROR_CHARACTERS = 1000
"""Longer errors of a worker are cut. A pipe takes such a message in one write."""


def worker_pool(
    processes: int,
    *,
    preload: Sequence[str],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    worker_initargs: Sequence[tuple[Any, ...]] = (),
    worker_per_task: bool = False,
) -> "WorkerPool":
    """Return a pool of worker processes, forked from a server.

    Workers ignore Ctrl-C, since the main process decides when to stop. They end when the main
    process ends, even if it is killed. They log at the level of the main process, and do not
    import from the working directory.

    Args:
        processes: number of workers.
        preload: modules that the server imports once for all workers.
        initializer: called in each worker, with `initargs`.
        initargs: arguments of the initializer.
        worker_initargs: further arguments of the initializer, one tuple per worker, such as its
            device. A worker that replaces a dead one gets the same.
        worker_per_task: whether each task gets a new process.
    """
    start_fork_server(preload)
    own = [*worker_initargs] or [()] * processes
    setups = [bytes(ForkingPickler.dumps((initializer, (*initargs, *further)))) for further in own]
    return WorkerPool(setups[:processes], worker_per_task=worker_per_task)


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Start processes in this block that do not run the user's script again: no task is of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class WorkerDiedError(MmfeatError):
    """The worker process of a task ended before the task did. Other tasks go on.

    Attributes:
        killed: whether the system killed the process, perhaps for lack of memory.
    """

    killed = False


class WorkerStartError(MmfeatError):
    """A worker ends before it is ready for tasks, and so would any other."""


class WorkerPool:
    """Worker processes that take tasks from one queue.

    If a worker dies, its task fails with `WorkerDiedError` and a new worker replaces it. Each
    worker is an executor of its own, since an executor fails all its tasks when one of its
    processes dies. `worker_pool` makes the pool. Use it as a context manager.

    Args:
        setups: per worker, its pickled initializer and arguments.
        worker_per_task: whether each task gets a new process.
    """

    def __init__(self, setups: Sequence[bytes], *, worker_per_task: bool) -> None:
        self._setups, self._worker_per_task = setups, worker_per_task
        self._workers: dict[int, _Worker] = {}
        self._numbers = iter(range(len(setups)))
        self._thread = threading.local()
        self._lock, self._running, self._killed = threading.Lock(), 0, False
        self._threads = ThreadPoolExecutor(len(setups), initializer=self._number_thread)

    def _number_thread(self) -> None:
        self._thread.number = next(self._numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()

    def submit(self, task: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Run a task in the next free worker.

        Returns:
            A future. It raises `WorkerDiedError` if the worker dies, and `WorkerStartError` if no
            worker can start.
        """
        return self._threads.submit(self._run, task, arguments)

    def shutdown(self, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, then end the workers. Cancelled tasks do not start."""
        self._threads.shutdown(cancel_futures=cancel_futures)
        while self._workers:
            self._workers.popitem()[1].shutdown()

    def kill(self) -> None:
        """End the workers at once. Running tasks fail, and no other starts."""
        with self._lock:
            self._killed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._running:  # a worker may be starting now
            for worker in list(self._workers.values()):
                worker.kill()
            time.sleep(_SECONDS_BETWEEN_KILLS)
        self.shutdown()

    def _run(self, task: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """Run a task in the worker of this thread, and count it while it runs."""
        with self._lock:
            if self._killed:
                raise WorkerDiedError("the workers were ended")
            self._running += 1
        try:
            return self._run_in_worker(task, arguments)
        finally:
            with self._lock:
                self._running -= 1

    def _run_in_worker(self, task: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        number = self._thread.number
        for _ in range(_STARTS):
            worker = self._workers.get(number) or _Worker(self._setups[number])
            self._workers[number] = worker
            try:
                return worker.submit(task, *arguments).result()
            except (BrokenProcessPool, WorkerStartError):
                del self._workers[number]
                death = worker.explain_death()
                if self._killed:
                    raise WorkerDiedError("the workers were ended") from None
                if isinstance(death, WorkerDiedError):
                    raise death from None
            finally:
                if self._worker_per_task and number in self._workers:
                    self._workers.pop(number).shutdown(wait=False)
        raise death


class _Worker(ProcessPoolExecutor):
    """An executor of one process."""

    def __init__(self, setup: bytes) -> None:
        self._context = _WorkerContext(setup)
        super().__init__(1, self._context)

    def kill(self) -> None:
        """End the process, if it has started."""
        for process in list(self._context.started):
            process.kill()

    def explain_death(self) -> WorkerDiedError | WorkerStartError:
        """Return why the process ended, after a `BrokenProcessPool`."""
        self.shutdown(cancel_futures=True)
        messages = self._context.read_messages()
        if _READY not in messages:
            return WorkerStartError(self._explain_end(messages))
        death = WorkerDiedError(self._explain_end([text for text in messages if text != _READY]))
        death.killed = self._context.exit_codes == [-signal.SIGKILL]
        return death

    def _explain_end(self, errors: Sequence[str]) -> str:
        if errors:
            return f"a worker process failed: {errors[0]}"
        if not self._context.exit_codes:
            return "the server of the worker processes ended; see its error"
        code = self._context.exit_codes[0]
        if code == -signal.SIGKILL:
            return "a worker process was killed (out of memory?)"
        if code < 0:
            return f"a worker process was ended by the signal {signal.Signals(-code).name}"
        return f"a worker process ended with exit code {code}; an error stands above"


class _WorkerContext(ForkServerContext):
    """Makes the processes of one pool, and collects why they end.

    Args:
        setup: the pickled initializer and its arguments.
    """

    def __init__(self, setup: bytes) -> None:
        super().__init__()
        self._setup = setup
        self.messages: SimpleQueue[str] = self.SimpleQueue()
        self.exit_codes: list[int] = []
        self.started: list[_WorkerProcess] = []

    def Process(self, **options: Any) -> "_WorkerProcess":  # type: ignore[override] # noqa: N802
        process = _WorkerProcess(**options)
        process.configure(self._setup, self.messages, self.exit_codes, self.started)
        return process

    def read_messages(self) -> list[str]:
        """Return what the process has sent: `_READY`, and the error that ended it."""
        messages = []
        while not self.messages.empty():
            messages.append(self.messages.get())
        return messages


class _WorkerProcess(ForkServerProcess):
    """A worker. Any error outside of a task ends it, and goes to the main process as text."""

    def configure(
        self,
        setup: bytes,
        messages: "SimpleQueue[str]",
        exit_codes: list[int],
        started: "list[_WorkerProcess]",
    ) -> None:
        """Set what the worker needs of its pool."""
        self._setup, self._messages, self._exit_codes = setup, messages, exit_codes
        self._started = started
        self._environment = dict(os.environ)  # the server has that of its start

    def start(self) -> None:
        """Ask the server for the process."""
        try:
            with _without_main_module():
                super().start()
        except (EOFError, ConnectionError) as error:
            raise WorkerStartError("the server of the worker processes ended") from error
        self._started.append(self)

    def run(self) -> None:
        """Prepare the worker and run its tasks."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_exit_with_parent, daemon=True).start()
        os.environ.update(self._environment)
        try:
            tolerate_lost_output()
            configure_logging()
            # Unpickled here, so that an error of an import is caught.
            initializer, initargs = pickle.loads(self._setup)  # noqa: S301 - from the main process
            if initializer:
                initializer(*initargs)
            self._messages.put(_READY)
            super().run()
        except Exception as error:
            _log.debug("a worker process failed", exc_info=True)
            self._messages.put(f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS])
            sys.exit(1)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the process and keep its exit code."""
        super().join(timeout)
        if self.exitcode is not None:
            self._exit_codes.append(self.exitcode)


def _exit_with_parent() -> None:
    """Wait for the parent process to end, then exit.

    `join` waits for the end of a pipe that the parent holds. Its process number would not do: a
    killed process keeps it until its exit code is read, and then another process may get it.
    """
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
