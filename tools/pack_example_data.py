"""Append materials in published-format JSON files to the embedded data set of the package.

    python tools/pack_example_data.py FOLDER [--leave_out FILE] [--coarse]

FOLDER holds one ComputedStructureEntry per material (.json, .json.gz or .json.bz2); a file as this tool writes it
(.npz) may take its place. Materials that the set has are
skipped, the others are appended in the order of a hash of their names, 100 to a file. Every material goes to the part
of the split of its reduced formula: that of an earlier material of this formula, otherwise by a hash of the formula,
70 % to training, 15 % to validation and 15 % to test. So nothing moves when the set grows.

With --coarse they are appended to the metals with coarse k meshes instead, which have files of their own and no split.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.entry_json import EntryJson
from dielectric_gnn.data.sources.shards import COARSE_NAME, PART_NAME, read_shard, write_shard
from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import write_text

TARGET = Path(__file__).resolve().parents[1] / "dielectric_gnn" / "data" / "example"
SHARES = (0.7, 0.15)
"""Shares of the formulas in training and validation; the rest is for tests."""
PART_SIZE = 100


def uniform_hash(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def side_of(formula: str) -> str:
    """Part of the split of a new formula."""
    value = uniform_hash(formula)
    return SPLIT_NAMES[(value >= SHARES[0]) + (value >= sum(SHARES))]


def append(folder: Path, new: Iterable[CrystalRecord]) -> Counter[str]:
    """Append records to the files of a folder and to its split.

    Args:
        folder: Holds the numbered files and `split.json`, or nothing.
        new: Labelled records; those whose id the set has are skipped.

    Returns:
        How many were appended to each part of the split.
    """
    parts = _existing(folder, PART_NAME)
    split_file = folder / "split.json"
    split = json.loads(split_file.read_text(encoding="utf-8")) if parts else {name: [] for name in SPLIT_NAMES}
    side_of_id = {material_id: name for name, ids in split.items() for material_id in ids}
    side_of_formula = {record.formula: side_of_id[record.material_id] for part in parts for record in part}
    counts: Counter[str] = Counter()
    for record in _append_to_files(folder, PART_NAME, parts, new):
        side = side_of_formula.setdefault(record.formula, side_of(record.formula))
        split[side].append(record.material_id)
        counts[side] += 1
    if counts:
        write_text(split_file, json.dumps(split, indent=1) + "\n")
    return counts


def append_coarse(folder: Path, new: Iterable[CrystalRecord]) -> int:
    """Append records to the files of metals with coarse k meshes.

    Args:
        folder: Holds the numbered files, or none.
        new: Labelled records; those whose id the files have are skipped.

    Returns:
        How many were appended.
    """
    return len(_append_to_files(folder, COARSE_NAME, _existing(folder, COARSE_NAME), new))


def _append_to_files(
    folder: Path, name: str, parts: list[list[CrystalRecord]], new: Iterable[CrystalRecord]
) -> list[CrystalRecord]:
    """Append the records whose id `parts` do not have, and write the files that change; returns these records."""
    ids = {record.material_id for part in parts for record in part}
    first_changed = max(0, len(parts) - 1)
    appended = []
    for record in sorted(new, key=lambda record: uniform_hash(record.material_id)):
        if record.material_id in ids:
            continue
        ids.add(record.material_id)
        appended.append(record)
        if not parts or len(parts[-1]) >= PART_SIZE:
            parts.append([])
        parts[-1].append(record)
    if appended:
        for number in range(first_changed, len(parts)):
            write_shard(folder / name.format(number), parts[number])
    return appended


def _existing(folder: Path, name: str) -> list[list[CrystalRecord]]:
    parts: list[list[CrystalRecord]] = []
    while (path := folder / name.format(len(parts))).is_file():
        parts.append(list(read_shard(path)))
    return parts


def main() -> None:
    """Read and pack."""
    command(pack)


def pack() -> None:
    """Parse the command line, and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the JSON files, or an .npz file")
    parser.add_argument("--leave_out", type=Path, help="text file with reduced formulas to leave out, one to a line")
    parser.add_argument("--coarse", action="store_true", help="append to the metals with coarse k meshes")
    options = parser.parse_args()
    left_out = set(options.leave_out.read_text(encoding="utf-8").split()) if options.leave_out else set()
    source = options.folder
    found = read_shard(source) if source.suffix == ".npz" else EntryJson(str(source)).records()
    records = [record for record in found if record.formula not in left_out]
    if options.coarse:
        print(f"appended {append_coarse(TARGET, records)} of {len(records)} materials with coarse meshes to {TARGET}")
        return
    counts = append(TARGET, records)
    print(f"appended {counts.total()} of {len(records)} materials to {TARGET}: {dict(counts)}")


if __name__ == "__main__":
    main()
