"""What starting the command imports: packages that only some commands need must wait until one needs them."""

import subprocess
import sys

# matplotlib and scipy are not listed: Lightning imports torchmetrics, which imports both.
LATE = ("colour", "e3nn", "h5py", "pandas", "pymatgen", "spglib", "tensorboard", "torch_geometric", "vesin")

_HELP = """
import sys
from dielectric_gnn.cli.training import run
try:
    run(["fit", "--help"])
except SystemExit as end:
    assert end.code in (0, None), end.code
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_help_of_fit_imports_nothing_that_it_has_no_use_for() -> None:
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True, timeout=120)
    imported = done.stdout.rpartition("imported: ")[2].split()
    assert {"torch", "lightning", "dielectric_gnn"} <= set(imported)
    assert not set(LATE) & set(imported)
