"""Pack published-format JSON files into the embedded data set of the package.

    python tools/pack_example_data.py FOLDER

FOLDER holds one ComputedStructureEntry per material (.json, .json.gz or .json.bz2). The split is drawn once, by
reduced formula, and stored with the data, so that it stays fixed by material id.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dielectric_gnn.data.sources.entry_json import EntryJson
from dielectric_gnn.data.sources.example import write_example
from dielectric_gnn.data.splits import composition_split

TARGET = Path(__file__).resolve().parents[1] / "dielectric_gnn" / "data" / "example"
FRACTIONS = (0.7, 0.15, 0.15)
SPLIT_SEED = 0


def main() -> None:
    """Read, split and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the JSON files")
    records = list(EntryJson(parser.parse_args().folder).records())
    split = composition_split(
        [record.material_id for record in records], [record.formula for record in records], FRACTIONS, SPLIT_SEED
    )
    write_example(TARGET, records, split)
    print(f"packed {len(records)} materials into {TARGET}:", {name: len(ids) for name, ids in split.items()})


if __name__ == "__main__":
    main()
