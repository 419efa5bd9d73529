"""What every reader promises of every input, and how inputs are made: from good ones, by damage."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.utils.errors import InputError

T = TypeVar("T")

MAX_SECONDS = 20.0
"""Of processor time for one small input; readers need milliseconds, and machines of CI may be slow."""


def examples(usual: int) -> settings:
    """So many inputs for a test: the same every time, or, with `--fuzz-minutes N`, N times as many, drawn at random."""
    minutes = os.environ.get("FUZZ_MINUTES")
    return settings(
        max_examples=usual if minutes is None else max(1, round(usual * float(minutes))),
        derandomize=minutes is None,
        deadline=None,  # `reads_or_refuses` measures processor time
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def reads_or_refuses(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None where it refuses its input as it should.

    Any other exception, a message of several lines or with control characters, and a long time fail the test.
    """
    started = time.process_time()
    try:
        return read()
    except InputError as error:
        check_message(error)
        return None
    finally:
        assert time.process_time() - started < MAX_SECONDS


def check_message(error: InputError) -> None:
    """One line that a terminal shows as it is, of a length that people read."""
    text = str(error)
    assert text.strip() and "\n" not in text and "\r" not in text, ascii(text)
    assert len(text) < 20_000, f"{len(text)} characters: {text[:300]!r}"


def check_record(record: CrystalRecord) -> None:
    """A record that passed the reader is one that a graph can be made of."""
    assert record.material_id and record.lattice.shape == (3, 3)
    assert record.positions.shape == (record.atomic_numbers.size, 3)
    assert math.isfinite(record.volume) and record.formula


NUMBERS = ["0", "-1", "1e308", "1e400", "-1e-320", "nan", "inf", "1" * 400, "0.5.5", "1_0", "٣", "0x10", "True", "-0"]
TEXTS = [
    "", " ", "\n", "\r\n", "\0", "\t", "'", '"', "#", ";", "_", "?", ".", ",", "loop_", "data_", "stop_", "save_x",
    "\x1b[31m", "\ud800", "\ufeff", "é", "𝕏", "Xx", "H", "Ag1+", "1/0", "x,y", "-x,y+1/2,z", "{", "}", "[" * 300,
    "=1+1", "../../x", "a" * 5000,
]  # fmt: skip

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**20), 2**63, 1e308, -1e-320, math.nan, math.inf])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=6,
)
"""Whatever JSON can say."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    """Where something can be changed in nested plain values; of long lists, the first and last members."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for place in sorted({*range(min(4, len(value))), *range(max(0, len(value) - 1), len(value))}):
            yield from places(value[place], (*path, place))


@st.composite
def damaged_values(draw: st.DrawFn, good: Any) -> Any:
    """Nested plain values with one to three places replaced, taken away, or given a neighbour."""
    value = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        new = draw(plain)
        if not path:
            value = new
            continue
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        action = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
        if action == "delete":
            del parent[path[-1]]
        elif action == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=4))] = new
        elif action == "add":
            parent.insert(path[-1], new)
        else:
            parent[path[-1]] = new
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes with a few turned, cut, repeated or put in between."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        action = draw(st.sampled_from(["flip", "flip", "cut", "insert", "repeat", "end"]))
        if action == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif action == "cut":
            del content[place : place + draw(st.integers(1, 50))]
        elif action == "insert":
            content[place:place] = draw(st.binary(max_size=8))
        elif action == "repeat":
            content[place:place] = content[place : place + draw(st.integers(1, 200))]
        else:
            del content[place:]
    return bytes(content)


@st.composite
def damaged_text(draw: st.DrawFn, good: str) -> str:
    """Text in which words become others, and lines are taken away, repeated or exchanged."""
    lines = good.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        if not lines:
            break
        row = draw(st.integers(0, len(lines) - 1))
        action = draw(
            st.sampled_from(["word", "word", "word", "number", "delete", "repeat", "exchange", "cut", "letter"])
        )
        if action in ("word", "number"):
            words = lines[row].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(
                st.sampled_from(NUMBERS if action == "number" else TEXTS + NUMBERS) | st.text(max_size=6)
            )
            lines[row] = " ".join(words)
        elif action == "delete":
            del lines[row]
        elif action == "repeat":
            lines[row:row] = lines[row : row + draw(st.integers(1, 5))]
        elif action == "exchange":
            other = draw(st.integers(0, len(lines) - 1))
            lines[row], lines[other] = lines[other], lines[row]
        elif action == "cut":
            del lines[row + 1 :]
        else:
            place = draw(st.integers(0, len(lines[row])))
            lines[row] = lines[row][:place] + draw(st.characters()) + lines[row][place + 1 :]
    return "\n".join(lines)


def encoded(text: str) -> bytes:
    """Text as a file holds it, also where it is no Unicode."""
    return text.encode("utf-8", "surrogatepass")
