"""Annotations as JAMS."""

from pathlib import Path

from data_prep.files import write_atomically
from data_prep.refused import printable
from trainables.notation.beats import timeline_of
from trainables.notation.transcribed import ESTIMATED, NotationOptions, Transcribed

ESTIMATE_IS_RIGHT = 0.83  # the format wants a number: the share of Groove's performances whose tempo is found


def write_jams(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write a JAMS file, atomically: the onsets' classes as `tag_open` and their pitches as `note_midi`.

    The confidence of both is the onset's strength. With a tempo there are also `beat`, whose values count the beats of
    bars, and `tempo`, of confidence 1 where it was given; neither where none can be estimated.
    """
    import jams

    onsets, seconds = transcribed.onsets, transcribed.end_s
    timeline, pitches = timeline_of(transcribed, options), options.note_map.of(transcribed.classes)
    jam = jams.JAMS(file_metadata=jams.FileMetadata(title=printable(transcribed.title), duration=seconds))
    times_s, of = onsets.times_s.tolist(), onsets.classes.tolist()
    strengths = [None if strength != strength else round(strength, 4) for strength in onsets.velocities.tolist()]
    columns: dict[str, tuple[list, list, list]] = {
        "tag_open": (times_s, [transcribed.classes[index] for index in of], strengths),
        "note_midi": (times_s, [float(pitches[index]) for index in of], strengths),
    }
    if timeline is not None:
        beats_s, beats = timeline.beats(seconds)
        columns["beat"] = (beats_s.tolist(), beats.tolist(), [None] * len(beats))
    for namespace, (starts_s, values, confidences) in columns.items():
        annotation = jams.Annotation(namespace, time=0, duration=seconds)
        for time_s, value, confidence in zip(starts_s, values, confidences, strict=True):
            annotation.append(time=time_s, duration=0.0, value=value, confidence=confidence)
        annotation.annotation_metadata.annotation_tools = "mirtune"
        jam.annotations.append(annotation)
    if timeline is not None:
        tempo = jams.Annotation("tempo", time=0, duration=seconds)
        sure = ESTIMATE_IS_RIGHT if options.tempo == ESTIMATED else 1.0
        tempo.append(time=0.0, duration=seconds, value=timeline.bpm, confidence=sure)
        jam.annotations.append(tempo)
    with write_atomically(path) as temporary:
        jam.save(str(temporary), fmt="jams")  # validates
