"""Which note of a drum kit each class is in a MIDI file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.bounded import read_bounded
from data_prep.refused import Refused

# General MIDI percussion: bass drum 1, acoustic snare, low tom, closed hi-hat, crash cymbal 1 (for all cymbals, too),
# ride cymbal 1, ride bell, claves.
GENERAL_MIDI = {"kick": 36, "snare": 38, "toms": 45, "hi-hat": 42, "cymbals": 49}
GENERAL_MIDI |= {"crash": 49, "ride": 51, "bell": 53, "claves": 75}
# Roland's TD modules, as the Groove data set was played: kick, snare's head, tom 1 (of 48, 45, 43), closed hi-hat's bow
# (22 is its edge), crash 1's bow, ride's bow and bell. They have no claves: the cross stick comes nearest.
ROLAND = {"kick": 36, "snare": 38, "toms": 48, "hi-hat": 42, "cymbals": 49}
ROLAND |= {"crash": 49, "ride": 51, "bell": 53, "claves": 37}
NOTE_MAPS: dict[str, Mapping[str, int]] = {"gm": GENERAL_MIDI, "roland": ROLAND}
MAX_BYTES = 64 * 2**10


@dataclass(frozen=True)
class NoteMap:
    """Pitches 0..127 by class; ``source`` names the map to the user."""

    source: str = "gm"
    pitches: Mapping[str, int] = field(default_factory=lambda: GENERAL_MIDI)

    def of(self, classes: Iterable[str]) -> list[int]:
        """The pitch of each class; Refused where one has none."""
        if missing := [name for name in classes if name not in self.pitches]:
            raise Refused(
                f"note map {self.source} has no pitch for class {missing[0][:40]!r}, which the checkpoint hears; "
                "add it to the map, or give another"
            )
        return [self.pitches[name] for name in classes]


def read_note_map(name: str) -> NoteMap:
    """A map by name, or of a JSON file such as {"kick": 36, "snare": 38}; Refused where it is none."""
    if name in NOTE_MAPS:
        return NoteMap(name, NOTE_MAPS[name])
    path = Path(name)
    if not path.is_file():
        raise Refused(f"no note map {name}; choose from {', '.join(NOTE_MAPS)}, or give a JSON file that there is")
    data = read_bounded(path, MAX_BYTES, "note map", 'give a JSON file such as {"kick": 36, "snare": 38}')
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one, too
        reason = "a class is there twice" if isinstance(error, _Twice) else "it is no JSON in UTF-8"
        raise Refused(f"note map {name} cannot be read ({reason}); mend it") from error
    if not isinstance(content, dict) or not content:
        raise Refused(f'note map {name} holds no classes; expected an object such as {{"kick": 36, "snare": 38}}')
    for of, pitch in content.items():
        if of not in GENERAL_MIDI:
            raise Refused(f"note map {name} has an unknown class {of[:40]!r}; choose from {', '.join(GENERAL_MIDI)}")
        if not isinstance(pitch, int) or isinstance(pitch, bool) or not 0 <= pitch <= 127:
            raise Refused(f"note map {name} gives {of} the pitch {str(pitch)[:40]!r}; expected a whole number 0 to 127")
    return NoteMap(name, content)


class _Twice(ValueError):
    """A key is there twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of a JSON file; raises _Twice where it says two things of one key."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Twice
    return dict(pairs)
