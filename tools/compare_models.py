r"""Train and test several models with several seeds on the embedded metals, and print one table.

    python tools/compare_models.py configs/published/optimetal2b_cgc.yaml configs/published/optimetal3b_tc.yaml \
        --out runs/compare --seeds 1 42 137 -- --trainer.max_epochs 60

Every model is trained by `dielectric-gnn fit` with its configuration file and the options after `--`, and its best
checkpoint is tested. Numbers are means over the test materials, then mean ± sample standard deviation over the seeds.
Finished runs are not repeated; remove their folder to train them again.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds, so that Ctrl-C ends them without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from dielectric_gnn.training.checkpoint import SECTION, read_checkpoint
from dielectric_gnn.training.run_record import RECORD, read_record
from dielectric_gnn.training.stored_config import data_words
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import check_writable, user_path
from dielectric_gnn.utils.names import check_seed

COLUMNS = {
    "loss": "loss",
    "mae_re": "MAE Re ε",
    "mae_im": "MAE Im ε",
    "sc_re": "SC Re ε",
    "sc_im": "SC Im ε",
    "drude_error": "abs. Δω_D (eV)",
    "delta_e": "ΔE",
    "kk_residual": "KK residual",
    "gain": "Im ε < 0 (share of materials)",
}
_DIGITS = {"kk_residual": 4}


def train_and_test(config: Path, seed: int, out: Path, options: list[str]) -> Path:
    """Run `fit` and `test` unless they are done; returns the folder of the run."""
    run = out / f"{config.stem}-seed{seed}"
    if (run / "test" / "per_material.csv").exists():
        return run
    program = [sys.executable, "-m", "dielectric_gnn"]
    fit = ["fit", "--config", str(config), *options, "--seed_everything", str(seed), "--run_dir", str(run)]
    started = time.perf_counter()
    _call([*program, *fit])
    (run / "seconds.txt").write_text(f"{time.perf_counter() - started:.1f}\n")
    best = run / "checkpoints" / "best.ckpt"
    materials = data_words(read_checkpoint(best)[SECTION]["config"]["data"])  # trusted: this tool has just written it
    _call([*program, "test", "--ckpt_path", str(best), *materials])
    return run


def _call(line: list[str]) -> None:
    if status := subprocess.run(line, check=False).returncode:
        sys.exit(status if status > 0 else 128 - status)  # the command has printed the reason


def summarize(run: Path) -> dict[str, float]:
    """Mean of each metric over the test materials, parameters, best epoch and training time of a run."""
    materials = pd.read_csv(run / "test" / "per_material.csv")
    materials["gain"] = materials["gain_share"] > 0
    numbers: dict[str, float] = materials[list(COLUMNS)].mean(skipna=False).to_dict()
    numbers["parameters"] = float(read_record(run / RECORD).num_parameters)
    numbers["epoch"] = float(read_checkpoint(run / "checkpoints" / "best.ckpt")["epoch"] + 1)
    numbers["seconds"] = float((run / "seconds.txt").read_text())
    return numbers


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown table with one row per model.

    Args:
        results: Summaries of the runs of each model, one per seed.
    """
    lines = ["| model | parameters | " + " | ".join(COLUMNS.values()) + " | best epoch | training (s) |"]
    lines.append("| --- " * (len(COLUMNS) + 4) + "|")
    for name, summaries in results.items():
        runs = pd.DataFrame(summaries)
        mean, std = runs.mean(skipna=False), runs.std(skipna=False)
        cells = [name, f"{runs['parameters'][0]:,.0f}"]
        for key in COLUMNS:
            digits = _DIGITS.get(key, 2)
            cells.append("–" if np.isnan(mean[key]) else f"{mean[key]:.{digits}f} ± {std[key]:.{digits}f}")
        cells += [", ".join(f"{epoch:.0f}" for epoch in runs["epoch"]), f"{mean['seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print its table."""
    command(lambda: compare(sys.argv[1:]))


def compare(words: list[str]) -> None:
    """Parse the command line, train, test and print."""
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=user_path, help="one configuration file per model")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 42, 137], help="default: the published seeds")
    parser.add_argument("--out", type=user_path, default=Path("runs/compare"), help="folder of the runs")
    options = parser.parse_args(words[:split])
    check_writable(options.out)
    for seed in options.seeds:
        check_seed("--seeds", seed)
    results = {
        config.stem: [
            summarize(train_and_test(config, seed, options.out, words[split + 1 :])) for seed in options.seeds
        ]
        for config in options.configs
    }
    print(table(results))


if __name__ == "__main__":
    main()
