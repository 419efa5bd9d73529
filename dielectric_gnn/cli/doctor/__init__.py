r"""Check, before a long training, that it will run: packages, devices, data, memory, disk, processes.

    dielectric-gnn doctor --config configs/base.yaml --config configs/backbone/goten.yaml --data.store data/mine

Takes the options of `dielectric-gnn fit`, and two of its own: `--verify-store` reads every byte of the store, and
`--quick` leaves out the measured steps. Nothing is trained and nothing is written. Exit status 1 if there is an error.
"""

from __future__ import annotations

from dielectric_gnn.utils.entry import command, importing


def main(words: list[str]) -> None:
    """Print the help page or the report.

    Args:
        words: Options of `fit`, and those of the check.
    """
    command(lambda: _run(words))


def _run(words: list[str]) -> None:
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return
    with importing():  # here, because Lightning takes seconds that the help page need not spend
        from dielectric_gnn.cli.doctor.command import report
    report(words)
