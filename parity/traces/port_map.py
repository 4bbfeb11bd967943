"""Which submodule gives each tap and which parameter holds each variable: the map and its file."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from inputs.files import MEBIBYTE, read_text, shown
from network.registry import names, network_of
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

TRANSPOSED = ".T"
"""Ends the name of a parameter that holds a matrix as (C_out, C_in), as ``nn.Linear`` does."""
RETURNED = "()"
"""In place of a submodule: what the whole module's call returns, for the network's output."""
SECTIONS = ("taps", "variables", "unmatched")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# Which submodule's output is each activation, and which parameter holds each variable.
# Written by `p2m-parity propose`, to be read, mended and kept. An empty name is a question: put in
# one of the names behind it, or move a tap to [….unmatched] with the reason why the port lacks it.
"""


@dataclass(frozen=True)
class PortMap:
    """How a module's names belong to a network's.

    Attributes:
        taps: for every tap the dotted name of the submodule whose output it is; where that is a
            tuple, a list or a mapping, with the index of the tensor: ``"graph.x[0]"``,
            ``"graph.x['points']"``. A submodule that is called several times, such as once a view,
            gives several outputs, which are joined along the first axis.
        variables: by checkpoint key the name of the parameter, which has torch's layout (kernels
            out × in × height × width); with ``.T`` at its end a matrix (C_out, C_in).
        unmatched: taps that the port does not have, with the reason.
    """

    taps: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    unmatched: Mapping[str, str] = field(default_factory=dict)

    def asked(self) -> list[str]:
        """The taps and variables whose names are empty: questions."""
        return [
            key for part in (self.taps, self.variables) for key, name in part.items() if not name
        ]


def read_maps(path: Path) -> dict[str, PortMap]:
    """The maps of a file, by stage.

    Raises:
        InputError: the file cannot be read, or holds what no map has.
    """
    expected = "the file that `p2m-parity propose` writes"
    text = read_text(path, expected, MEBIBYTE)
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers that Python finds too long
        raise InputError(path, shown(f"{error}"), expected) from error
    maps = {}
    for stage, parts in found.items():
        if stage not in names():
            known = f"a stage: {', '.join(names())}"
            raise InputError(path, f"[{shown(stage)}]", known)
        _check(path, stage, parts)
        maps[stage] = PortMap(**parts)
    return maps


def read_map(path: Path, stage: str) -> PortMap:
    """The map of one stage, all of its questions answered.

    Raises:
        InputError: as ``read_maps``, or there is no such stage, or a question is left.
    """
    maps = read_maps(path)
    if stage not in maps:
        raise InputError(path, f"no [{stage}.taps]", f"the {stage} stage: `p2m-parity propose`")
    if asked := maps[stage].asked():
        more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
        raise InputError(
            path, f'{stage}: "{asked[0]}"{more} without an answer',
            "one of the names that stand behind it",
        )  # fmt: skip
    return maps[stage]


def write_maps(
    path: Path, maps: Mapping[str, PortMap], remarks: Mapping[tuple[str, str], str]
) -> None:
    """Write maps, by stage, with remarks behind the entries: by stage and entry.

    Raises:
        InputError: the file cannot be written.
    """
    lines = [_HEAD]
    for stage, each in maps.items():
        for section in SECTIONS:
            entries = getattr(each, section)
            if entries:
                lines.append(f"[{_key(stage)}.{section}]")
            for key, value in entries.items():
                remark = remarks.get((stage, key), "")
                behind = f"  # {remark}" if remark else ""
                lines.append(f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}{behind}")
            if entries:
                lines.append("")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), "utf-8")


def all_named(kind: str, there: list[str], named: set[str], stage: str) -> None:
    """Refuse a map that leaves out some of what is ``there``.

    Raises:
        InputError: it does.
    """
    forgotten = sorted(name for name in there if name not in named)
    if forgotten:
        some = ", ".join(forgotten[:3])
        found = f"{len(forgotten)} {kind}s neither mapped nor unmatched ({some}, …)"
        raise InputError(f"{kind} map", found, f"all {len(there)} of the {stage} stage")


def _check(path: Path, stage: str, parts: Any) -> None:
    if not isinstance(parts, dict) or not {*parts} <= {*SECTIONS}:
        raise InputError(path, f"[{stage}] {shown(parts)}", f"sections {', '.join(SECTIONS)}")
    network = network_of(stage)
    keys = {row.key for row in network.variables}
    known = {"taps": {*network.rows}, "variables": keys, "unmatched": {*network.rows}}
    for section, entries in parts.items():
        if not isinstance(entries, dict):
            raise InputError(path, f"[{stage}] {section} = {shown(entries)}", "names in quotes")
        for key, value in entries.items():
            if key not in known[section] and not key.startswith("gradients/"):
                kind = "variable" if section == "variables" else "tap"
                raise InputError(
                    path, f"[{stage}.{section}] {shown(key)}", f"a {kind} of the network"
                )
            if not isinstance(value, str):
                raise InputError(
                    path, f"[{stage}.{section}] {shown(key)} = {shown(value)}", "a name in quotes"
                )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
