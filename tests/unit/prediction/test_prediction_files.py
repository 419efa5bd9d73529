"""Journal, summary and page of predictions."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dielectric_gnn.optics.screening import FIGURES_OF_MERIT
from dielectric_gnn.prediction.journal import PredictionJournal
from dielectric_gnn.prediction.page import prediction_page
from dielectric_gnn.prediction.summary import RANKABLE, write_summary
from dielectric_gnn.utils.files import file_stem
from dielectric_gnn.utils.sealed_lines import sealed_line

IDENTITY = {"model": "abc", "damping_ev": 0.1}


def row(name: str, **values: object) -> dict[str, object]:
    """A row of the summary."""
    texts = {"material_id": name, "formula": name.title(), "srgb_hex": "#ffd700", "unseen_elements": ""}
    texts |= {"illuminant": "D65", "observer": "2deg"}
    return {**texts, **dict.fromkeys(RANKABLE), **values}


def test_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    journal = PredictionJournal(tmp_path, IDENTITY)
    assert journal.rows() == {}
    journal.append([row("a"), row("b", q_lsp=1.5)], rank=0)
    journal.close()
    again = PredictionJournal(tmp_path, IDENTITY)
    assert list(again.rows()) == ["a", "b"] and again.rows()["b"]["q_lsp"] == 1.5
    again.append([row("c")], rank=1)
    again.append([row("d")], rank=0)
    again.close()
    assert set(PredictionJournal(tmp_path, IDENTITY).rows()) == {"a", "b", "c", "d"}


def test_torn_line_of_a_killed_process_does_not_count(tmp_path: Path) -> None:
    journal = PredictionJournal(tmp_path, IDENTITY)
    journal.append([row("a"), row("b")], rank=0)
    journal.close()
    path = tmp_path / "finished-0.jsonl"
    path.write_text(path.read_text()[:-20])
    again = PredictionJournal(tmp_path, IDENTITY)
    assert list(again.rows()) == ["a"]
    again.append([row("b")], rank=0)
    again.close()
    assert [json.loads(line)["row"].get("material_id") for line in path.read_text().splitlines()] == [None, "a", "b"]


def test_another_model_starts_anew(tmp_path: Path) -> None:
    journal = PredictionJournal(tmp_path, IDENTITY)
    journal.append([row("a")], rank=0)
    journal.close()
    other = PredictionJournal(tmp_path, {**IDENTITY, "model": "xyz"})
    assert other.rows() == {}
    other.append([row("b")], rank=0)
    other.close()
    assert PredictionJournal(tmp_path, IDENTITY).rows() == {}


def test_a_later_launch_of_fewer_processes_wins(tmp_path: Path) -> None:
    for rank, name in ((0, "a"), (1, "b")):
        journal = PredictionJournal(tmp_path, IDENTITY)
        journal.append([row(name, q_lsp=1.0)], rank)
        journal.close()
    again = PredictionJournal(tmp_path, IDENTITY)  # the file of b was changed meanwhile
    again.append([row("b", q_lsp=2.0)], rank=0)
    again.close()
    assert {name: found["q_lsp"] for name, found in again.rows().items()} == {"a": 1.0, "b": 2.0}
    assert PredictionJournal(tmp_path, IDENTITY).rows()["b"]["q_lsp"] == 2.0


def test_a_damaged_line_does_not_count(tmp_path: Path) -> None:
    journal = PredictionJournal(tmp_path, IDENTITY)
    journal.append([row("a"), row("b"), row("c")], rank=0)
    journal.close()
    path = tmp_path / "finished-0.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:-9], *lines[3:]]) + "\n")
    assert list(PredictionJournal(tmp_path, IDENTITY).rows()) == ["a", "c"]


def test_no_flipped_bit_of_a_journal_is_believed(tmp_path: Path) -> None:
    """Whatever bit turns, every row that still counts is what was written; a row that is missing is predicted again."""
    journal = PredictionJournal(tmp_path, IDENTITY)
    journal.append([row("a", q_lsp=1.5), row("b", q_lsp=0.25)], rank=0)
    journal.close()
    sound, path = PredictionJournal(tmp_path, IDENTITY).rows(), tmp_path / "finished-0.jsonl"
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            found = PredictionJournal(tmp_path, IDENTITY).rows()
            assert found.items() <= sound.items()
            assert len(found) < len(sound) or place == len(content) - 1 or chr(damaged[place]).lower() == "e"


def test_lines_of_a_journal_that_are_no_rows_do_not_count(tmp_path: Path) -> None:
    identity = PredictionJournal(tmp_path, IDENTITY).identity
    lines = [b"\xff\xfe", b"[" * 100_000, b"{}", b"3", sealed_line({"material_id": ["a"], "launch": 1}).encode()]
    (tmp_path / "finished-0.jsonl").write_bytes(b"\n".join([identity.encode(), *lines, b""]))
    assert PredictionJournal(tmp_path, IDENTITY).rows() == {}


def test_different_materials_have_different_files() -> None:
    names = ["Ag_1", "Ag 1", "Ag/1", "summary", "index", "finished-0", "x", "x_tensor", "x_optics", "x_nk", "", "."]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names) and stems[0] == "Ag_1"
    assert not {"", "summary", "index", "finished-0"} & set(stems)
    files = [stem + ending for stem in stems for ending in ("", "_tensor", "_optics", "_nk", "_x", "_x_nk")]
    assert len(set(files)) == len(files)


def test_summary_is_ranked_with_the_undefined_last(tmp_path: Path) -> None:
    rows = [row("a", q_lsp=1.0), row("b"), row("c", q_lsp=30.0)]
    write_summary(tmp_path, rows, "q_lsp")
    names = [line.split(",")[0] for line in (tmp_path / "summary.csv").read_text().splitlines()]
    assert names == ["material_id", "c", "a", "b"]
    assert 'data-kind="number" aria-sort="descending"' in (tmp_path / "index.html").read_text()
    write_summary(tmp_path, rows, "-q_lsp")
    names = [line.split(",")[0] for line in (tmp_path / "summary.csv").read_text().splitlines()]
    assert names == ["material_id", "a", "c", "b"]
    assert 'data-kind="number" aria-sort="ascending"' in (tmp_path / "index.html").read_text()
    write_summary(tmp_path, rows, None)
    assert 'data-kind="text" class="text" aria-sort="ascending"' in (tmp_path / "index.html").read_text()
    assert (tmp_path / "summary.csv").read_text().splitlines()[1].startswith("a,A,,#ffd700")
    header = (tmp_path / "summary.csv").read_text().splitlines()[0].split(",")
    assert {figure.key for figure in FIGURES_OF_MERIT} <= set(header)


COLUMNS = [
    ("material_id", "material", ""),
    ("formula", "formula", ""),
    ("srgb_hex", "colour", "colour"),
    ("q_lsp", "Q", "best"),
]


def test_page_holds_everything_itself_and_escapes(tmp_path: Path) -> None:
    first = {"material_id": "<b>&", "srgb_hex": "#102030", "q_lsp": 2.0}
    rows = [first, {"material_id": "x", "srgb_hex": "", "q_lsp": None}]
    page = prediction_page("Title", "line", COLUMNS, rows, "q_lsp", descending=True)
    assert "&lt;b&gt;&amp;" in page and "<b>" not in page
    assert 'style="background:#102030"' in page and 'aria-sort="descending"' in page
    assert not re.search(r"""(src|href)=["']?(http|//)|@import|url\(""", page), "it needs nothing from outside"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_page_sorts_and_filters_in_a_browser(tmp_path: Path) -> None:
    values = {"a-2": (2.0, "CoBa"), "a-10": (None, "NaCl"), "c": (30.0, "CO2")}
    rows = [
        {"material_id": name, "formula": formula, "srgb_hex": "#bacdce", "q_lsp": value}
        for name, (value, formula) in values.items()
    ]
    page = prediction_page("Title", "line", COLUMNS, rows)
    # The page acts on itself and writes what it sees where the dump can be read.
    probe = """<script>
      const shown = () => [...document.querySelectorAll("tbody tr")].filter(r => !r.hidden);
      const names = () => shown().map(r => r.cells[0].textContent);
      const click = place => document.querySelectorAll("th button")[place].click();
      const seen = [names()];
      click(3); seen.push(names()); click(3); seen.push(names()); click(0); seen.push(names());
      const box = document.getElementById("filter");
      for (const text of ["C", "Ba Co", "co", "A-1", "ce"]) {
        box.value = text; box.dispatchEvent(new Event("input")); seen.push(names());
      }
      document.title = JSON.stringify(seen);
    </script></body>"""
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", probe))
    result = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom", str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title is not None
    given, falling, rising, by_id, *filtered = json.loads(title[1])
    assert given == ["a-2", "a-10", "c"] and falling == ["c", "a-2", "a-10"] and rising == ["a-2", "c", "a-10"]
    assert by_id == ["a-2", "a-10", "c"]
    # Symbols are elements, whose letters in colours do not count; other words are parts of id or formula.
    assert filtered == [["c"], ["a-2"], ["a-2", "c"], ["a-10"], []]
    assert "CONSOLE" not in result.stderr, result.stderr
