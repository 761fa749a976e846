"""ENST-Drums (Gillet and Richard, ISMIR 2006): the pieces with accompaniment, alone and together with MDB Drums.

Of each of three drummers, the pieces played to a recording without drums ("minus one"): the wet mix of the drums and
the accompaniment are added. Results depend on their balance: the study adds them 1:1, the default; two thirds to one
third, an accompaniment gain of -6 dB, is common as well.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data_prep.corpora import mdb
from data_prep.corpora.annotated import AnnotatedAudio, Annotation
from data_prep.corpora.track import CorpusSource, PrepOptions, Track
from data_prep.refused import Refused

DRUMMERS = ("drummer_1", "drummer_2", "drummer_3")
TRAIN_DRUMMERS = DRUMMERS[:2]
# Of the third drummer, by the number in front, so that a piece that is missing moves no other one: the first ten, which
# are 126 to 134 and 140. The rest is for testing.
LAST_VALIDATION_PIECE = 140
PIECES = "*minus-one*"
ENST_FOLDERS, MDB_FOLDERS = ("ENST-Drums", "ENST-drums-public", "enst"), ("MDB Drums", "mdb_drums", "mdb")


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Drummers 1 and 2 to learn from, the third's first ten pieces for validation, the rest to test on."""
    assert source is not None
    for drummer in DRUMMERS:
        annotations, drums, accompaniment = (
            source / drummer / of for of in ("annotation", "audio/wet_mix", "audio/accompaniment")
        )
        pieces = {path.stem for path in (*annotations.glob(f"{PIECES}.txt"), *drums.glob(f"{PIECES}.wav"))}
        if not pieces:
            raise Refused(
                f"{source} is not ENST-Drums: it has no {drummer}/annotation/{PIECES}.txt; give the folder that holds "
                f"{', '.join(DRUMMERS)}"
            )
        for piece in sorted(pieces):
            third = "validation" if _number(piece) <= LAST_VALIDATION_PIECE else "test"
            name = f"{drummer}-{piece}"
            recording = AnnotatedAudio(
                audio=(drums / f"{piece}.wav", accompaniment / f"{piece}.wav"),
                annotations=(Annotation(annotations / f"{piece}.txt", "enst"),),
                classes=options.classes,
                gains_db=(0.0, options.accompaniment_gain_db),
            )
            yield Track(name, "train" if drummer in TRAIN_DRUMMERS else third, name, recording)


def _number(piece: str) -> int:
    """Pieces are counted over all takes of a drummer: `126_minus-one_salsa_sticks`."""
    number = piece.partition("_")[0]
    if not number.isdecimal():
        raise Refused(f"{piece} of ENST-Drums has no number in front, as in `126_minus-one_salsa_sticks`: rename it")
    return int(number)


def tracks_with_mdb(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """ENST-Drums and MDB Drums, each in its own splits, from two folders side by side in ``source``."""
    assert source is not None
    for module, names in ((tracks, ENST_FOLDERS), (mdb.tracks, MDB_FOLDERS)):
        folder = next((source / name for name in names if (source / name).is_dir()), None)
        if folder is None:
            raise Refused(
                f"{source} holds none of the folders {', '.join(names)}; expected ENST-Drums and MDB Drums side by "
                "side in it: move or link them there"
            )
        for track in module(folder, options):
            prefix = "enst" if module is tracks else "mdb"
            yield replace(track, id=f"{prefix}-{track.id}", performance=f"{prefix}-{track.performance}")


SOURCE = CorpusSource(
    "enst",
    "ENST-Drums, pieces with accompaniment",
    licence="research only, on application",
    tracks=tracks,
    heeds=("accompaniment_gain_db",),
    published={"train": 43, "validation": 10, "test": 11},
)
WITH_MDB = CorpusSource(
    "enst_mdb",
    "ENST-Drums and MDB Drums",
    licence=f"{SOURCE.licence}; {mdb.SOURCE.licence}",
    tracks=tracks_with_mdb,
    heeds=("accompaniment_gain_db",),
    published={split: SOURCE.published[split] + count for split, count in mdb.SOURCE.published.items()},
)
