"""The text of CIF files as data blocks of tags and values (syntax of CIF 1.1), and the numbers in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    ^;(?P<text>.*?)\n;            # text between lines that begin with a semicolon
    | \#[^\n]*                    # comment
    | '(?P<single>[^\n]*?)'(?=\s|\Z)
    | "(?P<double>[^\n]*?)"(?=\s|\Z)
    | (?P<bare>\S+)
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(\d+\))?")

ABSENT = (".", "?", "")
"""Values that mean inapplicable or unknown."""


@dataclass
class CifBlock:
    """One data block: the values of every tag; several if the tag is in a loop.

    Tags are in lower case with underscores only, so that `_atom_site.fract_x` of newer dictionaries is
    `_atom_site_fract_x`. Methods raise ValueError for syntax errors of the requested tag only.

    Args:
        name: Name after `data_`.
        values: Values by tag.
        loop_of: The tags of the loop that contains a tag.
        repeated: Tags that occur more than once.
    """

    name: str
    values: dict[str, list[str]] = field(default_factory=dict)
    loop_of: dict[str, list[str]] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)

    def __contains__(self, tag: str) -> bool:
        return tag in self.values

    def column(self, tag: str) -> list[str]:
        """The values of a tag, in a loop or a single one; empty if it is absent."""
        self._check(tag)
        return self.values.get(tag, [])

    def value(self, tag: str) -> str | None:
        """The value of a tag; None if it is absent, inapplicable or unknown."""
        found = self.column(tag)
        if len(found) > 1:
            raise ValueError(
                f"{tag} has {len(found)} values ({' '.join(found[:5])}), expected one; are quotes missing?"
            )
        return found[0] if found and found[0] not in ABSENT else None

    def _check(self, tag: str) -> None:
        if tag in self.repeated:
            raise ValueError(f"{tag} is given more than once")
        loop = self.loop_of.get(tag)
        counts = {len(self.values[one]) for one in loop or []}
        if len(counts) > 1:
            raise ValueError(f"the loop of {tag} has {len(loop or [])} columns, which its values do not fill evenly")


def read_blocks(text: str) -> list[CifBlock]:
    """The data blocks of a CIF file.

    Raises:
        ValueError: There is something before the first block, or a save frame, which is for dictionaries.
    """
    blocks: list[CifBlock] = []
    tags: list[str] = []  # tags of the next values, in turn
    place, in_head = 0, False
    for word, is_quoted in _words(text):
        lower = "" if is_quoted else word.lower()
        if lower.startswith("data_"):
            blocks.append(CifBlock(word[len("data_") :]))
            tags, in_head = [], False
        elif not blocks:
            raise ValueError(f"{word[:40]!r} precedes the first data block (data_…)")
        elif lower.startswith("save_"):
            raise ValueError("save frames are not supported")
        elif lower == "loop_":
            tags, place, in_head = [], 0, True
        elif lower.startswith("_"):
            if not in_head:
                tags, place = [], 0
            tags.append(_plain(lower))
            _begin(blocks[-1], tags[-1], tags if in_head else None)
        elif tags:
            blocks[-1].values[tags[place % len(tags)]].append(word)
            place, in_head = place + 1, False
    return blocks


def number(text: str) -> float:
    """A number, optionally with its uncertainty in brackets; raises ValueError for anything else."""
    match = _NUMBER.fullmatch(text.strip())
    found = float(match[1]) if match else math.nan
    if not math.isfinite(found):
        raise ValueError(f"{text[:40]!r} is not a number")
    return found


def _begin(block: CifBlock, tag: str, loop: list[str] | None) -> None:
    if tag in block.values:
        block.repeated.add(tag)
    block.values[tag] = []
    if loop is not None:
        block.loop_of[tag] = loop


def _plain(tag: str) -> str:
    return tag.replace(".", "_").rstrip("_").replace("name_h_m", "name_h-m")


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Words and values without comments, and whether they were quoted."""
    for match in _TOKEN.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        bare = match["bare"]
        if bare is not None:
            yield bare, False
        else:
            quoted = next((match[name] for name in ("text", "single", "double") if match[name] is not None), None)
            if quoted is not None:
                yield quoted.strip(), True
