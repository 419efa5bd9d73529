r"""Convert trained weights of the published study (arXiv:2602.05702) to a run of this toolkit.

    dielectric-gnn import-published optimetal/optimetal/files/optimetal3b_seed1.pt --out runs/published-3b
    dielectric-gnn predict --ckpt_path runs/published-3b/checkpoints/best.ckpt --crystals my_structures/

The study's package is not needed, and nothing in the file is executed. The checkpoint can be used by `test`, `predict`,
`--ensemble` and `fit --fine_tune_from`. The published models were trained in bf16 on GPUs: `--trainer.precision
bf16-mixed` gives the study's numbers, the default of 32 bits slightly different ones. Their spectra have a broadening
of 0.1 eV.
"""

from __future__ import annotations

import argparse
import shlex

from dielectric_gnn.cli.trainer_parts import quiet
from dielectric_gnn.training.published import convert
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import user_path
from dielectric_gnn.utils.locks import locked


def main(words: list[str]) -> None:
    """Run the command.

    Args:
        words: Command line after the name of the command.
    """
    command(lambda: convert_file(words))


def convert_file(words: list[str]) -> None:
    """Parse the command line, convert, and print where the result is."""
    parser = argparse.ArgumentParser(
        prog="dielectric-gnn import-published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", type=user_path, help="a file that the study's trainer saved, such as optimetal2b_seed1.pt"
    )
    parser.add_argument("--out", type=user_path, required=True, metavar="RUN", help="folder of the new run")
    parser.add_argument(
        "--data.store",
        dest="store",
        type=user_path,
        help="a store of the published data: its training materials give the mean response, with which `test` compares "
        "the model, and the elements in the training data",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    options = parser.parse_args(words)
    quiet()
    with locked(options.out, "import_published.py"):
        checkpoint = convert(options.file, options.out, options.store, options.overwrite)
    print(
        f"The weights are in {checkpoint}\n"
        f"  dielectric-gnn predict --ckpt_path {shlex.quote(str(checkpoint))} --crystals FILES\n"
        "  add --trainer.precision bf16-mixed for the precision that the study used"
    )
