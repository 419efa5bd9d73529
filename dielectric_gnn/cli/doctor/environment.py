"""Versions of the packages, devices and threads, memory and disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from dielectric_gnn.cli.doctor.finding import Finding

PACKAGE = "dielectric-gnn"
BAD_RELEASES = {
    **dict.fromkeys(("2.6.2", "2.6.3"), "is malware that steals credentials"),
    **dict.fromkeys(("2.6.4", "2.6.5"), "executes code from checkpoints, even with weights_only=True"),
}
"""Of lightning and pytorch-lightning."""


def check_versions() -> Iterator[Finding]:
    """Compare every required package with its bounds, and name compromised releases."""
    for line in requires(PACKAGE) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield check_version(requirement.name, installed(requirement.name), requirement)
    if (found := installed("pytorch-lightning")) in BAD_RELEASES:
        yield check_version("pytorch-lightning", found, Requirement("pytorch-lightning"))


def installed(name: str) -> str | None:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_version(name: str, found: str | None, requirement: Requirement) -> Finding:
    """One package."""
    subject, cure = f"package {name}", f"pip install '{requirement}'"
    if found is None:
        return Finding("error", subject, "not installed", cure)
    if "lightning" in name and found in BAD_RELEASES:
        cure = "pip install 'lightning>=2.6.6,<2.7'" + (
            ", and change every password and token of this machine" if "malware" in BAD_RELEASES[found] else ""
        )
        return Finding("error", subject, f"{found} {BAD_RELEASES[found]}", cure)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding("error", subject, f"{found}, expected {requirement.specifier}", cure)
    return Finding("ok", subject, found)


def check_devices(accelerator: str, processes: int) -> Iterator[Finding]:
    """Compare devices and threads with the settings of the launch.

    Args:
        accelerator: `cpu`, `cuda` or another name of a PyTorch device type.
        processes: How many of them on this machine.
    """
    if accelerator == "cuda":
        count = torch.cuda.device_count()
        if count < processes:
            cure = f"set trainer.devices to {count}" if count else "set trainer.accelerator to cpu, or check nvidia-smi"
            yield Finding("error", "devices", f"{processes} GPUs requested, {count} visible", cure)
        else:
            names = sorted({torch.cuda.get_device_name(index) for index in range(count)})
            yield Finding("ok", "devices", f"{processes} of {count} GPUs ({', '.join(names)})")
    else:
        yield Finding("ok", "devices", f"{processes} process{'es' if processes > 1 else ''} on {accelerator}")
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    found = f"{processes} × {threads} threads on {cores} cores"
    if processes * threads > cores:
        yield Finding("warning", "threads", found, f"export OMP_NUM_THREADS={max(cores // processes, 1)}")
    else:
        yield Finding("ok", "threads", found)


def check_slurm(processes: int, num_nodes: int) -> Iterator[Finding]:
    """Compare the SLURM job, if there is one, with the settings of the launch.

    Args:
        processes: On every node.
        num_nodes: Of the trainer.
    """
    tasks, nodes = (os.environ.get(f"SLURM_{name}") for name in ("NTASKS_PER_NODE", "JOB_NUM_NODES"))
    if tasks is not None and tasks != str(processes):
        cure = f"sbatch --ntasks-per-node={processes}, or trainer.devices {tasks}"
        yield Finding("error", "SLURM", f"{tasks} tasks per node, but {processes} devices", cure)
    if nodes is not None and nodes != str(num_nodes):
        cure = f"sbatch --nodes={num_nodes}, or trainer.num_nodes {nodes}"
        yield Finding("error", "SLURM", f"{nodes} nodes in this job, but trainer.num_nodes is {num_nodes}", cure)


def check_disk(run_dir: Path, checkpoint_bytes: int) -> Finding:
    """Space for the files of a run: two checkpoints, and one more while it is written."""
    parent = next(path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(parent).free, 3 * checkpoint_bytes + 100_000_000
    found = f"{gigabytes(free)} free at {parent}, a run needs about {gigabytes(needed)}"
    if free < needed:
        return Finding("error", "disk", found, "free some space, or choose another --run_dir")
    return Finding("ok", "disk", found)


def gigabytes(num_bytes: float) -> str:
    """A number of bytes in GB or MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.0f} MB"
