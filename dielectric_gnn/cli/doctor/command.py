"""The checks of `dielectric-gnn doctor` in turn, and their report."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dielectric_gnn.cli.doctor.data import check_store
from dielectric_gnn.cli.doctor.environment import check_devices, check_disk, check_slurm, check_versions
from dielectric_gnn.cli.doctor.finding import Finding
from dielectric_gnn.cli.doctor.processes import check_all_reduce
from dielectric_gnn.cli.doctor.step import BatchOption, check_batch
from dielectric_gnn.cli.training import DielectricCLI
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.training.baseline_module import BaselineModule
from dielectric_gnn.training.evaluation import trainable_parameters
from dielectric_gnn.utils.entry import input_error_from
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import printable

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_BYTES_PER_PARAMETER = 12
"""Size in a checkpoint: the weight and the two moments of AdamW."""


class Inspected(DielectricCLI):
    """Builds the model and data of `fit` without a trainer, and runs nothing."""

    def instantiate_trainer(self, **kwargs: object) -> None:  # type: ignore[override]
        """Return None: a trainer cannot be built if devices are missing, which the checks report."""

    def _lock_run(self, verb: str) -> None:
        """Lock nothing, since nothing is written."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def findings(words: list[str]) -> Iterator[Finding]:
    """All checks, cheap ones first."""
    own = {word: word in words for word in ("--verify-store", "--quick")}
    words = [word for word in words if word not in own]
    yield from check_versions()
    yield check_all_reduce()
    try:
        sys.argv = sys.argv[:1]  # otherwise Lightning warns about two command lines
        cli = built(words)
    except InputError as error:
        yield Finding(
            "error", "configuration", str(error), "see the message; --print_config shows the full configuration"
        )
        return
    yield from inspect(cli, own["--verify-store"], own["--quick"])


def built(words: list[str]) -> Inspected:
    """The model and data that `fit` would use with these options.

    Raises:
        InputError: A mistake in the options.
    """
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr):
            cli = Inspected(["fit", *words])
    except SystemExit as error:
        if not error.code:  # --print_config and --help end the process without an error
            raise
        raise InputError(" ".join(stderr.getvalue().rpartition("error: ")[2].split())) from error
    except (ValueError, OSError) as error:
        mistake = input_error_from(error)
        if mistake is None or mistake is error:
            raise
        raise mistake from error
    sys.stderr.write(stderr.getvalue())
    return cli


def inspect(cli: DielectricCLI, verify: bool, quick: bool) -> Iterator[Finding]:
    """The checks that depend on the configuration."""
    trainer, data, model = cli.config.fit.trainer, cli.datamodule, cli.model
    accelerator, processes = launch(str(trainer.accelerator), str(trainer.devices))
    parameters = trainable_parameters(model)
    size = "fitted in closed form" if isinstance(model, BaselineModule) else f"{parameters:,} trainable parameters"
    yield Finding("ok", "model", f"{type(model.backbone).__name__}, {size}")
    yield from check_devices(accelerator, processes)
    yield from check_slurm(processes, trainer.num_nodes)
    yield check_disk(cli.run_dir, _BYTES_PER_PARAMETER * parameters)
    if data.store_folder is not None:
        yield from check_store(data.store_folder.expanduser(), verify)
    if quick:
        return
    try:
        data.setup("fit")
        batch = requested_batch(data)
        model.training_statistics = data.training_statistics()
        if not isinstance(model, BaselineModule):
            model.prepare(data.store, data.indices["train"], model.training_statistics, data.lower_fidelities())
    except InputError as error:
        yield from rejects(data)
        yield Finding("error", "data", str(error), "see the message")
        return
    yield from rejects(data)
    train = data.indices["train"]
    yield Finding("ok", "data", f"{train.size} training materials of {len(data.store)}")
    if isinstance(model, BaselineModule):
        return  # there are no training steps to measure
    yield check_batch(model, data.store, train, batch, accelerator, processes)


def rejects(data: CrystalDataModule) -> Iterator[Finding]:
    """Materials that cannot be used."""
    if data.source.rejects:
        found = f"{len(data.source.rejects)} cannot be used, the first: {data.source.rejects[0]}"
        yield Finding("warning", "rejected", found, "correct or remove them; a training lists them in its folder")


def requested_batch(data: CrystalDataModule) -> BatchOption:
    """The size of the training batches.

    Raises:
        InputError: A budget is too small for the crystals.
    """
    for name in ("batch_edges", "batch_pairs"):
        budget = getattr(data, name)
        if budget is not None:
            crystals = data.indices["train"].size / len(data.train_dataloader())
            return BatchOption(f"data.{name}", budget, round(crystals))
    return BatchOption("data.batch_size", data.batch_size, data.batch_size)


def launch(accelerator: str, devices: str) -> tuple[str, int]:
    """Device type and number of processes on this machine that follow from the trainer's options."""
    import torch

    gpus = torch.cuda.device_count()
    cuda = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    if devices in ("auto", "-1"):
        return ("cuda", max(gpus, 1)) if cuda else ("cpu", 1)
    count = int(devices) if devices.isdigit() else len(re.findall(r"\d+", devices))
    return "cuda" if cuda else "cpu", count


def report(words: list[str]) -> None:
    """Check, print, and end with status 1 if there is an error."""
    table = Table("", "subject", "found", "what to do", title="Preflight")
    worst = "ok"
    for finding in findings(words):
        cells = (Text(printable(text)) for text in (finding.subject, finding.found, finding.cure))
        table.add_row(Text(finding.status, STYLES[finding.status]), *cells)
        worst = max(worst, finding.status, key=list(STYLES).index)
    Console().print(table)
    print({"ok": "Ready.", "warning": "Ready, with warnings.", "error": "Not ready."}[worst])
    sys.exit(worst == "error")
