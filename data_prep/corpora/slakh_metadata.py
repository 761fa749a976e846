"""The `metadata.yaml` of a Slakh track: which of its stems are drums, and which kit played them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_prep.bounded import read_bounded
from data_prep.refused import Refused

MAX_BYTES = 256 * 2**10  # some 100 times what there is
MAX_DEPTH = 8
ADVICE = "expected the metadata of a Slakh track, as published: restore it"


@dataclass(frozen=True)
class Stem:
    """A stem that is heard in the mix: its name ("S00"), whether its MIDI file was published, and its instrument."""

    name: str
    has_midi: bool
    plugin: str


@dataclass(frozen=True)
class Metadata:
    """What is of use: the MIDI file of Lakh that the track was made from, and its drum stems."""

    uuid: str
    drums: tuple[Stem, ...]


def read_metadata(path: Path) -> Metadata:
    """The metadata of a track; Refused where the file is missing, damaged or something else."""
    content = read_bounded(path, MAX_BYTES, "metadata", ADVICE)
    try:
        tree = _tree(yaml.parse(content, Loader=yaml.CSafeLoader), path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is no YAML ({' '.join(str(error).split())[:120]}); {ADVICE}") from error
    stems = tree.get("stems") if isinstance(tree, dict) else None
    if not isinstance(stems, dict) or not all(isinstance(stem, dict) for stem in stems.values()):
        raise Refused(f"{path} has no `stems`; {ADVICE}")
    drums = []
    for name, stem in stems.items():
        if _truth(path, name, stem, "is_drum", None) and _truth(path, name, stem, "audio_rendered", True):
            if not (name.isascii() and name.isalnum()):
                raise Refused(f"{path} names a stem {name[:40]!r}; {ADVICE}")
            has_midi = _truth(path, name, stem, "midi_saved", True)
            drums.append(Stem(name, has_midi, str(stem.get("plugin_name", ""))))
    return Metadata(str(tree.get("UUID", "")), tuple(drums))


def _truth(path: Path, name: str, stem: dict[str, Any], key: str, default: bool | None) -> bool:
    said = str(stem.get(key, default)).lower()
    if said not in ("true", "false"):
        raise Refused(f"{path} says {key}: {said[:40]!r} of stem {name[:40]!r}, not true or false; {ADVICE}")
    return said == "true"


def _tree(events: Iterator[Any], path: Path) -> Any:
    """Dicts, lists and words; no alias and no deep nesting, on which PyYAML's own constructor would crash."""
    above: list[Any] = []
    keys: list[str | None] = []  # of each mapping that is open, the key that waits for its value
    tree: Any = None
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise Refused(f"{path} holds aliases; {ADVICE}")
        if isinstance(event, yaml.CollectionEndEvent):
            above.pop()
            keys.pop()
            continue
        if isinstance(event, yaml.ScalarEvent):
            value: Any = event.value
        elif isinstance(event, yaml.CollectionStartEvent):
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        else:
            continue
        if not above:
            tree = value
        elif isinstance(above[-1], list):
            above[-1].append(value)
        elif keys[-1] is not None:
            above[-1][keys[-1]] = value
            keys[-1] = None
        elif isinstance(value, str):
            keys[-1] = value
        else:
            raise Refused(f"{path} has a key that is no word; {ADVICE}")
        if not isinstance(value, str):
            if len(above) == MAX_DEPTH:
                raise Refused(f"{path} is nested more than {MAX_DEPTH} deep; {ADVICE}")
            above.append(value)
            keys.append(None)
    return tree
