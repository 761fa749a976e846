"""What a note on a drum staff means where the file names no instrument: position and head -> General MIDI pitch.

Positions are those of a treble clef, as MusicXML writes them (F4 the lowest space, F5 the top line). The places are
those of Weinberg's guide to drumset notation, which scorewriters follow closely:

    D4 x pedal hi-hat          C5 snare, x side stick       F5 high tom, x ride, diamond ride bell
    D4, E4 second bass drum    D5 low-mid tom, x ride 2     G5 x closed hi-hat, circle open hi-hat
    F4 bass drum                  triangle tambourine       A5 x crash, circle open hi-hat
    G4, A4 floor toms          E5 high-mid tom              B5 x second crash, diamond china
    B4 low tom                    triangle cowbell          C6 x splash
"""

CROSS, CIRCLE, DIAMOND, TRIANGLE = "x", "circle", "diamond", "triangle"
HEADS = {
    "x": CROSS,
    "cross": CROSS,
    "circle-x": CIRCLE,
    "circled": CIRCLE,
    "diamond": DIAMOND,
    "triangle": TRIANGLE,
    "inverted triangle": TRIANGLE,
}
PITCHES = {
    ("D4", ""): 35, ("D4", CROSS): 44, ("D4", CIRCLE): 44, ("E4", ""): 35, ("F4", ""): 36,
    ("G4", ""): 41, ("A4", ""): 43, ("B4", ""): 45,
    ("C5", ""): 38, ("C5", CROSS): 37, ("C5", CIRCLE): 37, ("C5", DIAMOND): 37,
    ("D5", ""): 47, ("D5", CROSS): 59, ("D5", TRIANGLE): 54,
    ("E5", ""): 48, ("E5", TRIANGLE): 56,
    ("F5", ""): 50, ("F5", CROSS): 51, ("F5", CIRCLE): 51, ("F5", DIAMOND): 53,
    ("G5", CROSS): 42, ("G5", CIRCLE): 46, ("G5", DIAMOND): 46,
    ("A5", CROSS): 49, ("A5", CIRCLE): 46,
    ("B5", CROSS): 57, ("B5", CIRCLE): 57, ("B5", DIAMOND): 52,
    ("C6", CROSS): 55,
}  # fmt: skip


def staff_label(place: str, head: str) -> str:
    """A pitch in digits; where nothing usual stands in this place, the place and the head, as in `C7 x`."""
    pitch = PITCHES.get((place, HEADS.get(head, "")))
    return str(pitch) if pitch is not None else f"{place or 'unpitched'} {head or 'normal'}"
