"""What a training has cost so far: CPU, GPU and wall-clock seconds of all its launches and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

COST = ("cpu_seconds", "gpu_seconds", "wall_seconds")


class ComputeCost:
    """Sums of seconds; the clock runs from `start`.

    CPU and GPU seconds add up over processes, wall-clock seconds do not. A GPU counts from the first to the last
    moment, used or not.
    """

    def __init__(self) -> None:
        self.world_size = 1
        self.on_gpu = False
        self._spent = dict.fromkeys(COST, 0.0)  # by all processes, up to `_since`
        self._since: tuple[float, float] | None = None

    def start(self, world_size: int, on_gpu: bool) -> None:
        """Start the clock of this process, one of `world_size`."""
        self.world_size, self.on_gpu = world_size, on_gpu
        self._since = (time.process_time(), time.perf_counter())

    def take_over(self, spent: Mapping[str, float]) -> None:
        """Earlier launches have spent at least this."""
        self._spent = {key: max(self._spent[key], float(spent.get(key, 0.0))) for key in COST}

    def collect(self, sum_over_processes: Callable[[float], float]) -> None:
        """Add what the processes have spent; all of them take part."""
        here = self._here()
        for key in ("cpu_seconds", "gpu_seconds"):
            self._spent[key] += sum_over_processes(here[key])
        self._spent["wall_seconds"] += here["wall_seconds"]
        self.start(self.world_size, self.on_gpu)

    def now(self) -> dict[str, float]:
        """Up to now; since they were last collected, the other processes count as much as this one."""
        here = self._here()
        parallel = {"cpu_seconds": self.world_size, "gpu_seconds": self.world_size, "wall_seconds": 1}
        return {key: self._spent[key] + here[key] * parallel[key] for key in COST}

    def _here(self) -> dict[str, float]:
        if self._since is None:
            return dict.fromkeys(COST, 0.0)
        cpu, wall = time.process_time() - self._since[0], time.perf_counter() - self._since[1]
        return {"cpu_seconds": cpu, "gpu_seconds": wall if self.on_gpu else 0.0, "wall_seconds": wall}
