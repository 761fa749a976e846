"""Coverage-guided fuzzing of the annotation readers: labels or Refused, nothing else, and soon.

    pip install atheris
    python tests/fuzz/annotations.py --seconds 60 text|midi|csv|jams|musicxml|mxl

A finding is printed with its bytes and kept beside the corpus that grows under --work; it belongs into a test, as one
of the cases of tests/data_prep/annotations or tests/data_prep/test_midi.py. atheris is no dependency of the tests.
"""

import argparse
import io
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["data_prep", "zipfile", "partitura.io.importmusicxml"]):
    import partitura.io.importmusicxml  # noqa: F401

    from data_prep.annotations import read_labels
    from data_prep.refused import Refused

SCORE = b"""<score-partwise><part-list><score-part id="P1"><midi-instrument id="I"><midi-channel>10</midi-channel>
<midi-unpitched>37</midi-unpitched></midi-instrument></score-part></part-list><part id="P1"><measure number="1">
<attributes><divisions>2</divisions></attributes><direction><sound tempo="90" segno="a"/></direction>
<note dynamics="50">
<unpitched><display-step>C</display-step><display-octave>5</display-octave></unpitched><duration>2</duration>
<notehead>x</notehead></note><note><chord/><pitch><step>D</step><alter>1</alter><octave>2</octave></pitch><duration>2
</duration><tie type="stop"/></note><backup><duration>2</duration></backup><barline><ending number="1" type="start"/>
<repeat direction="backward" times="2"/></barline></measure></part></score-partwise>"""
EVENTS = b"\0\xff\x51\3\7\xa1\x20\0\x99\x24\x64\x81\x00\x26\x40\0\xf0\2\1\xf7\0\xc9\1\0\xff\x2f\0"
MIDI = b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + struct.pack(">L", len(EVENTS)) + EVENTS
JAMS = b'{"annotations": [{"namespace": "onset", "data": [{"time": 0.5, "duration": 0, "value": "KD"}]}]}'


def zipped(score: bytes) -> bytes:
    """A compressed score, stored as it is so that the fuzzer can reach it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="a.xml"/></container>')
        archive.writestr("a.xml", score)
    return buffer.getvalue()


SEEDS = {
    "text": (".txt", [b"0.5 KD\n1.25\t1.5\tSD\n# no\n", b"\xef\xbb\xbf0.5,36\r\n"]),
    "midi": (".mid", [MIDI, MIDI.replace(b"\1\xe0", b"\xe7\x28")]),
    "csv": (".csv", [b"time,label,velocity\n0.5,KD,0.5\n", b'0,5;"KD"\n', b"1\t36\n"]),
    "jams": (".jams", [JAMS, b'{"annotations": [{"namespace": "drums", "data": {"time": [1], "value": [36.0]}}]}']),
    "musicxml": (".musicxml", [SCORE]),
    "mxl": (".mxl", [zipped(SCORE)]),
}
WORDS = {
    "musicxml": (
        "measure note backup forward attributes divisions duration chord rest grace tie unpitched display-step pitch "
        "octave alter direction sound barline repeat ending instrument metronome beat-unit per-minute measure-style "
        "slash tempo times number segno tocoda coda dalsegno dacapo fine <!ENTITY <!DOCTYPE encoding"
    ),
    "jams": "annotations namespace data time value onset note_midi null true NaN Infinity 1e999 \\\\ud800",
    "csv": "time onset_s start label class pitch velocity nan 1e999",
}


def main() -> None:
    """Parse the command line and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", choices=sorted(SEEDS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, help="where corpus and findings are kept (default: a new folder)")
    arguments = parser.parse_args()
    suffix, seeds = SEEDS[arguments.format]
    work = arguments.work or Path(tempfile.mkdtemp(prefix=f"fuzz-{arguments.format}-"))
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    path = work / f"input{suffix}"
    for number, seed in enumerate(seeds):
        (work / "corpus" / f"seed-{number}").write_bytes(seed)
        path.write_bytes(seed)
        assert len(read_labels(path)), seed
    words = WORDS.get(arguments.format, "").split()
    (work / "words").write_text("".join(f'"{word}"\n' for word in words))

    def one_input(content: bytes) -> None:
        path.write_bytes(content)
        try:
            labels = read_labels(path)
        except Refused as refused:
            sentence = str(refused)
            if len(sentence.splitlines()) != 1 or not sentence.encode():
                raise AssertionError(sentence) from refused
            return
        assert labels.times_s.shape == labels.velocities.shape == (len(labels),)
        assert ((labels.times_s >= 0) & (labels.times_s <= 24 * 3600)).all()
        assert ((labels.velocities >= 0) & (labels.velocities <= 1) | np.isnan(labels.velocities)).all()
        assert all(label and label.isprintable() for label in labels.labels)

    options = [f"-max_total_time={arguments.seconds}", "-timeout=10", "-max_len=4096", "-rss_limit_mb=4096"]
    options += [f"-dict={work / 'words'}"] if words else []
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={work}/", str(work / "corpus")], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
