"""Which kits are for training, validation and test: families are disjoint, and so are recordings."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.default_kits import RECIPES, recordings_of
from data_prep.hydrogen import read_drumkit
from data_prep.kits import KitRef, default_kits, find_kits, load_kit
from data_prep.loose_samples import collection_of, piece_files
from data_prep.manifest import SPLITS
from data_prep.pieces import PIECE_CLASS, SOUND_FONT_KEYS, TABLE
from data_prep.samples import Kit, Voice
from data_prep.sound_fonts import open_sound_font

FILLED_FIRST = ("train", "test", "validation")  # where families are few
TRAINING_SHARE = 0.7  # of the families that nothing else decides
COMBINED_SHARE = 0.3  # of the draws take their pieces from three kits
SOURCES = {"kick": 0, "snare": 1, "toms": 1, "hi-hat": 2, "cymbals": 2}  # which of the three has a class
APART = {"kick": 0, "snare": 1, "toms": 2, "hi-hat": 3, "cymbals": 4}  # where each class has a source of its own
MOST: dict[str, float] = {row["family"]: row.get("most", 1.0) for row in TABLE["families"]}


def recordings(ref: KitRef) -> frozenset[str]:
    """Checksums of the recordings a kit plays, as they lie in its files: two kits that have one in common share a
    sound. A synthetic kit has none; it is drawn from its name, which stands for them.
    """
    if ref.kind == "synthetic":
        return frozenset({ref.name})
    if ref.kind == "hydrogen":
        instruments = read_drumkit(ref.path, SOUND_FONT_KEYS).instruments.values()
        files = {layer.file for voices in instruments for layers in voices for layer in layers}
        return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    if ref.kind == "samples":
        collection = collection_of({path.name for path in ref.path.iterdir()})
        assert collection is not None
        hits = {file for of_piece in piece_files(collection, ref.path).values() for file in of_piece}
        return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in hits)
    font = open_sound_font(ref.path)
    if ref.kind == "default":
        indices = recordings_of(ref.path, RECIPES[ref.name][0])
    else:
        assert ref.preset is not None
        indices = frozenset(z.recording for z in font.zones(*ref.preset))
    return frozenset(hashlib.sha256(font.recording_bytes(index)).hexdigest() for index in indices)


def _joined(refs: Sequence[KitRef]) -> list[KitRef]:
    """The refs, those of unknown families that share a recording with another family made part of it (known ones
    first).
    """
    owner: dict[str, tuple[str, str | None]] = {}
    joined = []
    for ref in sorted(refs, key=lambda r: (r.split is None, r.name, str(r.path))):
        own = recordings(ref)
        met = {owner[x] for x in own if x in owner} - {(ref.family, ref.split)}
        if ref.split is None and met:
            if len({split for _, split in met}) > 1:
                continue  # shares recordings with two splits: it can be in neither
            family, split = min(met, key=str)
            ref = replace(ref, family=family, split=split)
        for checksum in own:
            owner.setdefault(checksum, (ref.family, ref.split))
        joined.append(ref)
    return joined


def _place(name: str) -> float:
    """A number in 0..1 that a name always gets."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def split_kits(refs: Sequence[KitRef]) -> dict[str, tuple[KitRef, ...]]:
    """{"train", "validation", "test"} -> kits. Known families have their fixed split; the others get one by their name,
    splits that would stay empty first (train, then test, then validation). No two splits share a recording: a kit
    that has recordings of two known splits is left out.
    """
    joined = _joined(refs)
    free = sorted({r.family for r in joined if r.split is None}, key=lambda family: (_place(family), family))
    decided = {r.family: r.split for r in joined if r.split is not None}
    taken = set(decided.values())
    for split in (s for s in FILLED_FIRST if s not in taken):
        if free:
            decided[free.pop(0)] = split
    for family in free:
        rest = (_place(family + "/") - TRAINING_SHARE) / (1 - TRAINING_SHARE)
        decided[family] = "train" if rest < 0 else "validation" if rest < 0.5 else "test"
    order = sorted(joined, key=lambda r: (r.family, r.name, str(r.path)))
    return {split: tuple(r for r in order if decided[r.family] == split) for split in SPLITS}


def kits_by_split(folders: Sequence[Path] = ()) -> dict[str, tuple[KitRef, ...]]:
    """The kits of ``folders`` by split, or the default kits; default kits also fill a split that the folders leave
    empty.
    """
    splits = split_kits(find_kits(folders)) if folders else dict.fromkeys(SPLITS, ())
    standard = split_kits(default_kits())
    return {split: splits[split] or standard[split] for split in SPLITS}


def draw_kit(refs: Sequence[KitRef], rng: np.random.Generator) -> KitRef:
    """One kit by chance: families alike, but some (Fluid, Tim, electronic) at most their share where there are
    others.
    """
    families = sorted({ref.family for ref in refs})
    most = np.array([MOST.get(family, 1.0) for family in families])
    free = most >= 1
    weights = np.minimum(most, 1 / len(families))
    if free.any():
        weights[free] = (1 - weights[~free].sum()) / free.sum()
    family = families[rng.choice(len(families), p=weights / weights.sum())]
    own = [ref for ref in refs if ref.family == family]
    return own[int(rng.integers(len(own)))]


def drawn_kit(
    refs: Sequence[KitRef], rng: np.random.Generator, combined_share: float = COMBINED_SHARE, *, apart: bool = False
) -> Kit:
    """A kit by chance, loaded; ``combined_share`` of them, and all of loose recordings, combined from several of
    ``refs``, which are of one split. Raises Refused where a kit cannot be read.

    Combined: kick from one, snare and toms from another, hats and cymbals from a third; with ``apart`` each of the five
    classes from a family of its own, as far as there are so many, and single pieces that it lacks from the others.
    """
    drawn = [draw_kit(refs, rng)]
    if rng.random() >= combined_share and drawn[0].kind != "samples":
        return load_kit(drawn[0])
    sources = APART if apart else SOURCES
    while len(drawn) <= max(sources.values()):
        others = [ref for ref in refs if ref.family not in {d.family for d in drawn}] if apart else []
        drawn.append(draw_kit(others or refs, rng))
    if apart:
        drawn = [drawn[i] for i in rng.permutation(len(drawn))]  # the first is not always the kick
    kits = [load_kit(ref) for ref in drawn]
    pieces: dict[str, tuple[Voice, ...]] = {}
    for of, source in sources.items():
        own = {piece: voices for piece, voices in kits[source].pieces.items() if PIECE_CLASS[piece] == of}
        # what the kit lacks comes from the first that has it
        pieces |= own or {piece: voices for piece, voices in kits[0].pieces.items() if PIECE_CLASS[piece] == of}
    if apart or any(ref.kind == "samples" for ref in drawn):
        for kit in kits:
            pieces = {**kit.pieces, **pieces}
    return Kit(" + ".join(dict.fromkeys(kit.name for kit in kits)), pieces)
