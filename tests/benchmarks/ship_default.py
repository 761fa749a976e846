r"""Make the checkpoint that comes with the package, and its card, of one that was trained and calibrated.

    mirtune calibrate SWEEP/trial-0001/best-... --on groove --out calibrated
    python tests/benchmarks/ship_default.py calibrated --shards DIR --on groove:validation groove:test mdb:all \
        --made-by "..."

It is scored as it is shipped, with weights in half precision.
Which kits and music a training heard is not in its checkpoint; SOURCES below is of the one that is shipped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint
from trainables.evaluation import evaluate
from tuner.card import Source, shared_card

MOST_BYTES = 20e6
SOURCES = (
    Source(
        "Groove MIDI Dataset", "every drum performance, its official training split", "CC BY 4.0",
        "Gillick, Roberts, Engel, Eck, Bamman: Learning to Groove with Inverse Sequence Transformations, ICML 2019",
    ),
    Source("FluidR3_GM", "drum kits, instruments of the music", "MIT", "Frank Wen"),
    Source("TimGM6mb (package pretty_midi)", "instruments of the music", "GPL 2", "Tim Brechbill"),
    Source("Black Pearl and Red Zeppelin (avldrums.lv2)", "drum kits", "CC BY-SA 3.0", "Glen MacArthur, Robin Gareus"),
    Source("GMRockKit, The Black Pearl 1.0 (Hydrogen)", "drum kits", "GPL 2", "Glen MacArthur"),
    Source("BJA_Pacific (Hydrogen)", "drum kit", "CC BY-SA 3.0", "Luc Tanguay"),
    Source("Forzee Stereo (Hydrogen)", "drum kit", "GPL 2", "Vladimir Sadovnikov, Alexander Belokurov"),
    Source("Millo-Drums, Millo_MultiLayered2, 3 (Hydrogen)", "drum kits", "GPL 2", "Emiliano Grilli"),
    Source(
        "Audiophob (CC0), ElectricEmpireKit, HardElectro1, TR808EmulationKit (GPL 2 or later; all Hydrogen)",
        "electronic drum kits, at most 5 %", "CC0, GPL", "audiophobdubstep, Artemiy Pavlov, Hydrogen's authors",
    ),
    Source("freepats", "drum samples", "GPL 2 or later, with an exception for music", "freepats.opensrc.org"),
    Source("Sonic Pi", "drum samples", "CC0", "Sam Aaron and the Freesound users he names"),
    Source("LMMS", "drum samples", "GPL 2 or later", "the LMMS developers"),
    Source("exadrums", "drum samples", "BSD 3-clause", "Jeremy Oden"),
    Source("Freedoom", "General MIDI music under the drums", "BSD 3-clause", "the Freedoom contributors"),
)  # fmt: skip
LIMITS = (
    "It has heard rendered drums and music only: no recording of a song, no voice.",
    "Cymbals in recorded mixes are its weakest class, light rides above all; toms are rare in what it was measured on.",
    "No recording of MDB Drums was used for training, thresholds or choices.",
    "Some kits are licensed under the GPL. The weights hold no recording; whoever reads the GPL otherwise trains again "
    "without them (`mirtune prep groove_stems --kits ...`).",
)
TOLD = tuple(f"validation_{of}" for of in ("loss", "micro_f1", "macro_f1", "precision", "recall", "f1_", "plain_"))
TITLE = "The drum transcription checkpoint of mirtune"


def main() -> None:
    """Write ``trainables/default``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--on", nargs="+", required=True, metavar="CORPUS:SPLIT", help="what the card says scores of")
    parser.add_argument("--made-by", required=True, help="the commands, for the card")
    arguments = parser.parse_args()
    checkpoint = Checkpoint.load(arguments.checkpoint)
    told = {name: of for name, of in checkpoint.metrics.items() if name.startswith(TOLD)}
    replace(checkpoint, metrics=told).save(DEFAULT_FOLDER, half=True)
    shipped = Checkpoint.load(DEFAULT_FOLDER)
    asked = [of.split(":") for of in arguments.on]
    scores = [evaluate(shipped, corpus, arguments.shards, split=split).to_dict() for corpus, split in asked]
    card = shared_card(shipped, scores, SOURCES, title=TITLE, made_by=arguments.made_by, limits=LIMITS)
    (DEFAULT_FOLDER / "README.md").write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in DEFAULT_FOLDER.iterdir())
    assert size < MOST_BYTES, size
    print(card, f"{DEFAULT_FOLDER}: {size / 1e6:.2f} MB", sep="\n")


if __name__ == "__main__":
    main()
