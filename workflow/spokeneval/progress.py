"""One line on stderr, at most every two seconds, that says what runs, how far it is and how long it will take.

    likelihood acoustic-m: 120/600 clips, 45 s left

Measurement modules do not import this: they take a callable that is told how many more are done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")


def duration(seconds: float) -> str:
    """Seconds for people: '45 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Counts what is done. `total` may be unknown; then no time left is told.

    The pace is taken from the first report on: what a store held already is reported first, and took no time.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "clips",
        every_s: float = 2.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.total, self.unit, self.every_s = label, total, unit, every_s
        self.n_done = 0
        self._stream, self._clock = stream, clock
        self._start = self._last = clock()
        self._first: tuple[float, int] | None = None

    def add(self, n: int = 1) -> None:
        self.n_done += n
        now = self._clock()
        if self._first is None:
            self._first = (now, self.n_done)
        if now - self._last >= self.every_s:
            self._last = now
            self._print(self._remaining(now))

    def through(self, values: Iterable[T]) -> Iterator[T]:
        """Pass values through, counting each after it was used."""
        for value in values:
            yield value
            self.add()

    def finish(self) -> None:
        """The last line, with the time taken; silent where nothing was done."""
        if self.n_done:
            self._print(f", {duration(self._clock() - self._start)}")

    def _remaining(self, now: float) -> str:
        if self.total is None or self._first is None:
            return ""
        since, n_before = self._first
        n_left, n_paced = self.total - self.n_done, self.n_done - n_before
        return f", {duration((now - since) / n_paced * n_left)} left" if n_paced > 0 and n_left > 0 else ""

    def _print(self, tail: str) -> None:
        of = "" if self.total is None else f"/{self.total}"
        # Looked up at each line: a job replaces sys.stderr to keep a log.
        print(f"{self.label}: {self.n_done}{of} {self.unit}{tail}", file=self._stream or sys.stderr, flush=True)
