"""Draw what the embedded data set holds: elements, structure types and Drude frequencies.

python tools/plot_example_data.py [--out docs/images/embedded_metals.png]
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from pymatgen.core import Element

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.utils.entry import command

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "embedded_metals.png"
STRUCTURE_TYPES = {
    "fcc": "fcc", "bcc": "bcc", "hcp": "hcp", "bct085": "bct, c/a 0.85", "bct120": "bct, c/a 1.20", "b2": "B2",
    "l10": "L1₀", "l11": "L1₁", "l12": "L1₂", "bh": "B$_h$-like", "c11b": "C11$_b$", "c32": "C32",
}  # fmt: skip


def draw_elements(axes: Axes, records: list[CrystalRecord]) -> None:
    """Periodic table with the number of materials that contain each element."""
    counts = Counter(number for record in records for number in set(record.atomic_numbers.tolist()))
    colours = plt.get_cmap("YlGnBu")
    for number in range(1, 87):
        element = Element.from_Z(number)
        if 57 <= number <= 71:  # lanthanides: none in the set
            continue
        count = counts[number]
        face = colours(0.15 + 0.6 * count / max(counts.values())) if count else "white"
        axes.add_patch(Rectangle((element.group, -element.row), 0.94, 0.94, facecolor=face, edgecolor="0.8", lw=0.5))
        shade = "black" if count else "0.75"
        x, y = element.group + 0.47, -element.row
        axes.text(x, y + 0.6, element.symbol, ha="center", va="center", fontsize=8, color=shade)
        if count:
            axes.text(x, y + 0.22, str(count), ha="center", va="center", fontsize=6.5, color=shade)
    axes.set(xlim=(0.9, 19), ylim=(-6.2, 0.1), aspect="equal")
    axes.axis("off")
    axes.set_title(f"{len(records)} metals: materials that contain each element", fontsize=10)


def draw_structure_types(axes: Axes, records: list[CrystalRecord]) -> None:
    """Bars of structure types, those of cubic crystals in another colour."""
    counts = Counter(record.metadata["prototype_id"] for record in records)
    cubic = {record.metadata["prototype_id"] for record in records if record.metadata["spg"] >= 195}
    names = [name for name, _ in counts.most_common()]
    colours = ["tab:orange" if name in cubic else "tab:blue" for name in names]
    axes.barh([STRUCTURE_TYPES.get(name, name) for name in names], [counts[name] for name in names], color=colours)
    axes.invert_yaxis()
    share = sum(record.metadata["spg"] < 195 for record in records) / len(records)
    axes.set_title(f"structure types (orange: cubic; {share:.0%} are not)", fontsize=10)
    axes.set_xlabel("materials")


def draw_drude(axes: Axes, records: list[CrystalRecord]) -> None:
    """Histogram of the Drude frequency, by part of the split."""
    split = ExampleMetals().split()
    side = {material_id: name for name, ids in split.items() for material_id in ids}
    values: dict[str, list[float]] = {name: [] for name in SPLIT_NAMES}
    for record in records:
        if record.labels is not None:
            values[side[record.material_id]].append(float(np.sqrt(np.mean(record.labels.drude**2))))
    labels = [f"{name} ({len(values[name])})" for name in SPLIT_NAMES]
    axes.hist([values[name] for name in SPLIT_NAMES], bins=np.arange(0, 17, 0.5).tolist(), stacked=True, label=labels)
    axes.set(xlabel="Drude frequency (eV), root mean square of the axes", ylabel="materials")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("Drude frequencies, by part of the split", fontsize=10)


def main() -> None:
    """Draw the figure."""
    command(draw)


def draw() -> None:
    """Parse the command line, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="the picture (default: docs/images/embedded_metals.png)")
    out = parser.parse_args().out
    records = list(ExampleMetals().records())
    figure = plt.figure(figsize=(9, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.1, 1))
    draw_elements(figure.add_subplot(grid[0, :]), records)
    draw_structure_types(figure.add_subplot(grid[1, 0]), records)
    draw_drude(figure.add_subplot(grid[1, 1]), records)
    figure.savefig(out, dpi=110)
    print(f"{len(records)} materials: {out}")


if __name__ == "__main__":
    main()
