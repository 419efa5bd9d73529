"""The rooms of the house: a file imports only from rooms above it."""

import ast
from pathlib import Path

import dielectric_gnn

PACKAGE = Path(dielectric_gnn.__file__).parent
# From top to bottom; a folder is one room, but for data/, whose files have an order of their own.
ROOMS = [
    "", "errors", "ids", "csv_cells", "text", "streams", "entry", "names", "locks", "limits", "files", "sealed_lines",
    "schemas", "sealed_zip", "yaml_files", "meter", "grid", "run_record", "scaling", "study", "irreducible",
    "oscillators", "response", "optics", "screening", "export", "plots", "training_facts", "data.md5_lists",
    "data.figshare", "data.flat", "data.cells", "data.record", "data.option_values", "data.sources", "data.remarks",
    "data.frames", "data.neighbours", "data.store_facts", "data.reverse", "data.graph", "data.orbits",
    "data.stored_orbits", "data.targets", "data.row_checksums", "data.store", "data.store_means", "data.checks",
    "data.resident", "data.splits", "data.store_metadata", "data.growing", "data.store_files", "data.store_rows",
    "data.partial", "data.store_writer", "data.store_check", "data.store_upgrade", "data.prepare", "data.sampling",
    "data.datamodule", "nn", "backbones", "heads", "objective", "metrics", "schedule", "evaluation", "checkpoint",
    "loss_watch", "module", "ensemble", "stored_config", "loading", "run_folder", "former_training", "published",
    "callbacks", "resume", "trainer_parts", "command_line", "cli", "trial", "doctor", "__main__", "testing",
]  # fmt: skip


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    if not parts or parts == ["data"]:
        return ""
    return ".".join(parts[:2]) if parts[0] == "data" else parts[0]


def test_imports_point_upwards() -> None:
    found = 0
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(["dielectric_gnn", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        here = ROOMS.index(room_of(module))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dielectric_gnn"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                target = names[0] if node.module in ("dielectric_gnn", "dielectric_gnn.data") else node.module
                if target == "dielectric_gnn.__version__":
                    continue
                there = ROOMS.index(room_of(target))
                assert there <= here, f"{module} imports {target}, from a room below"
                found += 1
    assert found > 50


def test_data_knows_nothing_of_networks() -> None:
    for path in (PACKAGE / "data").rglob("*.py"):
        text = path.read_text()
        assert "dielectric_gnn.nn" not in text and "dielectric_gnn.backbones" not in text
