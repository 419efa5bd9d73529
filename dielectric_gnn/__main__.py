"""The command `dielectric-gnn`, also `python -m dielectric_gnn`.

The first help page is printed here, because importing PyTorch and Lightning for it takes seconds.
"""

from __future__ import annotations

import sys
from importlib import import_module

from dielectric_gnn import __version__
from dielectric_gnn.utils.entry import begin, command, importing

_TOOLS = {
    "prepare": "prepare",
    "study": "study",
    "fit-laws": "fit_laws",
    "cross-validate": "cross_validate",
    "compare": "compare",
    "doctor": "doctor",
    "benchmark": "benchmark.command",
    "import-published": "import_published",
}
"""Modules of `cli` by the names of their commands."""

_HELP = """\
dielectric-gnn: learn the optical response of crystals from their structure alone

Verbs:
  fit        train a model                    dielectric-gnn fit --config configs/quickstart.yaml
  test       table and figure on the test set dielectric-gnn test --ckpt_path RUN/checkpoints/best.ckpt
  evaluate   test on every labelled material  dielectric-gnn evaluate --ckpt_path RUN/checkpoints/best.ckpt \\
             of a folder, without a split       --data.source EntryJson --data.source.path folder/
  validate   metrics on the validation set    dielectric-gnn validate --ckpt_path RUN/checkpoints/best.ckpt
  predict    spectra of your crystals         dielectric-gnn predict --ckpt_path RUN/checkpoints/best.ckpt \\
                                                --crystals POSCAR silver.cif folder/

Tools (each has --help):
  prepare          download published data, build, describe and verify stores
  study            train a grid of models and data sizes, here or as SLURM jobs
  fit-laws         fit neural scaling laws to the records of trainings
  cross-validate   predict every material by a model that has not seen its formula
  compare          paired difference of two cross-validations
  doctor           check a launch of fit beforehand
  benchmark        measure how fast this machine builds graphs, trains, loads, predicts
  import-published turn weights of the published study into a run

Configuration: give --config several times, in any order; options win over files.
  dielectric-gnn fit --config configs/base.yaml --config configs/backbone/optimate.yaml \\
    --config configs/data/example.yaml --config configs/trainer/cpu.yaml --trainer.max_epochs 100
  dielectric-gnn fit ... --print_config                          show the resulting configuration
  dielectric-gnn fit --help                                      every option of a verb
  dielectric-gnn fit --model.backbone.help OptiMetal2B           options of one backbone
  dielectric-gnn fit ... --run_dir RUN --ckpt_path RUN/checkpoints/last.ckpt    continue a stopped training

Options:
  -h, --help   this page
  --version    version number
"""


def main(args: list[str] | None = None) -> None:
    """Run the command; see `entry.command` for how it ends.

    Args:
        args: Command line without the program's name; None takes that of the process.
    """
    begin()
    words = sys.argv[1:] if args is None else args
    if not words or words in (["-h"], ["--help"]):
        command(lambda: _print(_HELP))
        return
    if words == ["--version"]:
        command(lambda: _print(f"dielectric-gnn {__version__}\n"))
        return
    if words[0] in _TOOLS:
        with importing():
            tool = import_module(f"dielectric_gnn.cli.{_TOOLS[words[0]]}")
        tool.main(words[1:])
        return
    with importing():
        from dielectric_gnn.cli.training import run

    command(lambda: run(args))


def _print(text: str) -> None:
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
