"""Pack published-format JSON files into the embedded data set of the package.

    python tools/pack_example_data.py FOLDER

FOLDER holds one ComputedStructureEntry per material (.json, .json.gz or .json.bz2). The split is drawn by reduced
formula with seed 0, 1, 2, … until every element of the validation and test materials also occurs in training (a model
cannot know an element that it never saw), and stored with the data, so that it stays fixed by material id.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
from itertools import count
from pathlib import Path

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.entry_json import EntryJson
from dielectric_gnn.data.sources.example import write_example
from dielectric_gnn.data.splits import composition_split
from dielectric_gnn.utils.entry import command

TARGET = Path(__file__).resolve().parents[1] / "dielectric_gnn" / "data" / "example"
FRACTIONS = (0.7, 0.15, 0.15)


def split_with_known_elements(records: list[CrystalRecord]) -> tuple[int, dict[str, list[str]]]:
    """The first seed, and its split, whose training materials hold every element of the others."""
    ids = [record.material_id for record in records]
    formulas = [record.formula for record in records]
    elements = {record.material_id: set(record.atomic_numbers.tolist()) for record in records}
    everything = set().union(*elements.values())
    for seed in count():
        split = composition_split(ids, formulas, FRACTIONS, seed)
        if set().union(*(elements[material_id] for material_id in split["train"])) == everything:
            return seed, split
    raise RuntimeError("unreachable: count() never ends")


def main() -> None:
    """Read, split and pack."""
    command(pack)


def pack() -> None:
    """Parse the command line, and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the JSON files")
    records = list(EntryJson(parser.parse_args().folder).records())
    seed, split = split_with_known_elements(records)
    write_example(TARGET, records, split)
    sizes = {name: len(ids) for name, ids in split.items()}
    print(f"packed {len(records)} materials into {TARGET}; split of seed {seed}: {sizes}")


if __name__ == "__main__":
    main()
