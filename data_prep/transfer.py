"""Several files on their way to or from an object store at once."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

Progress = Callable[[int, int, str], None]  # bytes done, bytes in all, of what
AT_ONCE = 4


class Transfer:
    """Moves files, of known sizes in bytes, in threads; tells its progress, and ends all when one fails."""

    def __init__(self, what: str, sizes: Mapping[str, int], progress: Progress | None) -> None:
        self.what, self.sizes, self.progress = what, sizes, progress
        self._done = 0
        self._lock, self._stop = threading.Lock(), threading.Event()

    def run(self, move: Callable[[str, Callable[[int], None]], None]) -> None:
        """Call ``move`` with each name and a function that it tells how many bytes more have been moved."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            moving = [pool.submit(move, name, self._told) for name in self.sizes]
            try:
                for moved in moving:
                    moved.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _told(self, count: int) -> None:
        if self._stop.is_set():
            raise InterruptedError("another file could not be moved")
        with self._lock:
            self._done += count
            if self.progress:
                self.progress(self._done, sum(self.sizes.values()), self.what)
