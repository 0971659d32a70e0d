"""Many requests at once on bounded threads: order kept, the first failure ends the rest."""
from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Cancellation:
    """Ends what is in flight: a flag for those who wait, and the calls of those who read."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._calls: Dict[int, Any] = {}  # by thread: each has one at a time

    def add(self, call: Any) -> None:
        with self._lock:
            self._calls[threading.get_ident()] = call
        if self.stop.is_set():
            call.cancel()

    def cancel(self) -> None:
        self.stop.set()
        with self._lock:
            calls = list(self._calls.values())
        for call in calls:
            call.cancel()


def run_all(jobs: Sequence[Job], work: Callable[[Job, Cancellation], Result], concurrency: int,
            on_result: Callable[[Result], None]) -> List[Result]:
    """Runs work(job) for all jobs, at most `concurrency` at a time, and calls on_result in this thread as they end."""
    cancellation = Cancellation()
    done: "queue.SimpleQueue[Tuple[int, Any, Optional[BaseException]]]" = queue.SimpleQueue()
    lock = threading.Lock()
    following = iter(enumerate(jobs))

    def take() -> Optional[Tuple[int, Job]]:
        with lock:
            return None if cancellation.stop.is_set() else next(following, None)

    def worker() -> None:
        while (item := take()) is not None:
            try:
                done.put((item[0], work(item[1], cancellation), None))
            except BaseException as error:  # pylint: disable=broad-except  # goes to the caller's thread
                done.put((item[0], None, error))
                return

    threads = [threading.Thread(target=worker, name=f"quire-{i}", daemon=True) for i in range(min(concurrency, len(jobs)))]
    for thread in threads:
        thread.start()
    results: List[Any] = [None] * len(jobs)
    try:
        for _ in jobs:
            index, result, error = done.get()
            if error is not None:
                if len(jobs) > 1 and hasattr(error, "message"):
                    error.message += f" [prompt {index} of {len(jobs)}]"
                raise error
            results[index] = result
            on_result(result)
    except BaseException:
        cancellation.cancel()
        for thread in threads:
            thread.join(timeout=5)
        raise
    return results
