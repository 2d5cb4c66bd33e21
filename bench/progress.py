"""How much of a comparison is left, on the error stream, if that is a terminal."""

from __future__ import annotations

import sys
import time


class Progress:
    """Use as a context manager; step() once a measurement, at() for what is running now."""

    def __init__(self, total):
        self.total = total
        self.finished, self.start, self.shown = 0, time.monotonic(), 0.0
        self.bar = self.task = None
        self.visible = sys.stderr.isatty()

    def __enter__(self):
        if not self.visible:
            return self
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar
        except ImportError:
            return self
        # Drawn on demand: a refreshing thread would take time from what is measured.
        columns = TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn()
        console = Console(stderr=True)
        self.bar = Bar(*columns, console=console, auto_refresh=False, transient=True)
        self.bar.start()
        self.task = self.bar.add_task("starting", total=self.total)
        return self

    def __exit__(self, *exception):
        if self.bar:
            self.bar.stop()
        elif self.visible:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def step(self, count=1):
        self.finished += count

    def _left(self):
        if not self.finished:
            return "estimating"
        seconds = (time.monotonic() - self.start) / self.finished * (self.total - self.finished)
        return (
            f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
        )

    def at(self, label, rows_left):
        if not self.visible or time.monotonic() - self.shown < 0.2:
            return
        self.shown = time.monotonic()
        text = f"{label}: {rows_left} rows left, {self._left()}"
        if self.bar:
            self.bar.update(self.task, description=text, completed=self.finished, refresh=True)
        else:
            line = f"\r\033[K[{self.finished}/{self.total}] {text}"
            print(line, end="", file=sys.stderr, flush=True)
