"""Execution of the runs of a study on this machine, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event

from dielectric_gnn.studies.execute import Outcome, execute
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.studies.progress import Progress
from dielectric_gnn.utils.errors import InputError


def run_locally(
    runs: Sequence[PlannedRun], jobs: int, threads: int, retries: int, progress: Progress, stop: Event
) -> dict[str, Outcome]:
    """Execute runs, `jobs` at a time; a failed run does not stop the others.

    Args:
        runs: The runs, in the order of execution.
        jobs: Number of runs at a time.
        threads: Number of CPU threads of each run.
        retries: Number of times a failed run is tried again.
        progress: Display of the progress.
        stop: Event that interrupts all runs when it is set.

    Returns:
        Outcome of each run by name.
    """
    outcomes: dict[str, Outcome] = {}

    def execute_one(run: PlannedRun) -> Outcome:
        if stop.is_set():
            return Outcome("interrupted")
        progress.begin(run.name)
        try:
            return execute(run, threads, retries, stop)
        except (InputError, OSError) as error:
            return Outcome("failed", reason=str(error))

    with ThreadPoolExecutor(jobs) as pool:
        names: dict[Future[Outcome], str] = {pool.submit(execute_one, run): run.name for run in runs}
        left = set(names)
        while left:
            done, left = wait(left, timeout=progress.interval, return_when=FIRST_COMPLETED)
            for future in done:
                outcomes[names[future]] = future.result()
                progress.end(names[future], future.result())
            progress.show()
    return outcomes
