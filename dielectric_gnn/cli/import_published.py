r"""Convert trained weights of the published study (arXiv:2602.05702) to a run of this toolkit.

    dielectric-gnn import-published optimetal/optimetal/files/optimetal3b_seed1.pt --out runs/published-3b
    dielectric-gnn predict --ckpt_path runs/published-3b/checkpoints/best.ckpt --crystals my_structures/

The study's package is not needed, and nothing in the file is executed. The checkpoint can be used by `test`, `predict`,
`--ensemble` and `fit --fine_tune_from`. The published models were trained in bf16 on GPUs: `--trainer.precision
bf16-mixed` gives the study's numbers, the default of 32 bits slightly different ones. Their spectra have a broadening
of 0.1 eV.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from dielectric_gnn.cli.function_parser import FunctionParser, call_function
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.locks import locked


def main(words: Sequence[str]) -> None:
    """Run the command.

    Args:
        words: Command line after the name of the command.
    """
    command(lambda: _run(list(words)))


def _run(words: list[str]) -> None:
    parser = FunctionParser(__doc__, prog="dielectric-gnn import-published")
    parser.add_function(import_file, spellings={"store": "--data.store"})
    call_function(import_file, parser.parse_args(words))


def import_file(file: Path, *, out: Path, store: Path | None = None, overwrite: bool = False) -> None:
    """Convert a file, and print where the result is.

    Args:
        file: A file that the study's trainer saved, such as optimetal2b_seed1.pt.
        out: Folder of the new run.
        store: A store of the published data: its training materials give the mean response, with which `test` compares
            the model, and the elements in the training data.
        overwrite: Replace an existing checkpoint.
    """
    # Imported here, because Lightning takes seconds that the help page need not spend.
    from dielectric_gnn.cli.trainer_parts import quiet
    from dielectric_gnn.training.published import convert

    quiet()
    with locked(out, "import_published.py"):
        checkpoint = convert(file, out, store, overwrite)
    print(
        f"The weights are in {checkpoint}\n"
        f"  dielectric-gnn predict --ckpt_path {shlex.quote(str(checkpoint))} --crystals FILES\n"
        "  add --trainer.precision bf16-mixed for the precision that the study used"
    )
