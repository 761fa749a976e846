"""The pieces of a drum kit, which pitch means which, and what stands in for a missing one (pieces.json, one table)."""

import json
from collections.abc import Container
from pathlib import Path

TABLE = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
PIECE_CLASS: dict[str, str] = {piece: of for of, pieces in TABLE["classes"].items() for piece in pieces}
PIECES = tuple(PIECE_CLASS)
PITCHES: dict[int, str] = {int(pitch): piece for pitch, piece in TABLE["pitches"].items()}
SOUND_FONT_KEYS: dict[int, str] = {int(key): piece for key, piece in TABLE["sound_font_keys"].items()}
AVL_KEYS: dict[int, str] = {int(key): piece for key, piece in TABLE["avl_keys"].items()}
FALLBACKS: dict[str, tuple[str, ...]] = {piece: tuple(TABLE["fallbacks"].get(piece, ())) for piece in PIECES}
HATS = ("closed_hat", "pedal_hat", "open_hat")


def piece_for(pitch: int, have: Container[str]) -> str | None:
    """The piece among ``have`` that sounds for a Roland or General MIDI pitch; a stand-in is of the same drum class;
    else None.
    """
    piece = PITCHES.get(pitch)
    if piece is None:
        return None
    return next((p for p in (piece, *FALLBACKS[piece]) if p in have), None)
