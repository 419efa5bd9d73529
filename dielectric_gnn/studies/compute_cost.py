"""Compute cost of a training: CPU, GPU and wall-clock seconds of all its launches and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

COST_KEYS = ("cpu_seconds", "gpu_seconds", "wall_seconds")


class ComputeCost:
    """Sums of seconds since `start`.

    CPU and GPU seconds are summed over processes, wall-clock seconds are not. GPU seconds are the wall-clock time
    during which a process holds a GPU, whether it uses it or not.
    """

    def __init__(self) -> None:
        self.world_size = 1
        self.on_gpu = False
        self._seconds = dict.fromkeys(COST_KEYS, 0.0)  # of all processes, up to `_since`
        self._since: tuple[float, float] | None = None

    def start(self, world_size: int, on_gpu: bool) -> None:
        """Start the clock of this process, one of `world_size`."""
        self.world_size, self.on_gpu = world_size, on_gpu
        self._since = (time.process_time(), time.perf_counter())

    def include(self, earlier: Mapping[str, float]) -> None:
        """Include the cost of earlier launches; of values from checkpoint and record, the larger counts."""
        self._seconds = {key: max(self._seconds[key], float(earlier.get(key, 0.0))) for key in COST_KEYS}

    def collect(self, sum_over_processes: Callable[[float], float]) -> None:
        """Add the seconds of all processes; every process must call this."""
        here = self._here()
        for key in ("cpu_seconds", "gpu_seconds"):
            self._seconds[key] += sum_over_processes(here[key])
        self._seconds["wall_seconds"] += here["wall_seconds"]
        self.start(self.world_size, self.on_gpu)

    def now(self) -> dict[str, float]:
        """Cost up to now; for the time since `collect`, the other processes are assumed to cost as much as this one."""
        here = self._here()
        parallel = {"cpu_seconds": self.world_size, "gpu_seconds": self.world_size, "wall_seconds": 1}
        return {key: self._seconds[key] + here[key] * parallel[key] for key in COST_KEYS}

    def _here(self) -> dict[str, float]:
        if self._since is None:
            return dict.fromkeys(COST_KEYS, 0.0)
        cpu, wall = time.process_time() - self._since[0], time.perf_counter() - self._since[1]
        return {"cpu_seconds": cpu, "gpu_seconds": wall if self.on_gpu else 0.0, "wall_seconds": wall}
