"""General MIDI files of one drum track. N notes."""

from pathlib import Path

import mido
import numpy as np

from data_prep.files import write_atomically
from data_prep.midi import DRUM_CHANNEL
from data_prep.onsets import Onsets
from data_prep.refused import printable
from trainables.notation.beats import timeline_of
from trainables.notation.timeline import Timeline
from trainables.notation.transcribed import NotationOptions, Transcribed
from trainables.notation.velocity import velocities_of

NOTE_S = 0.1
TICKS_PER_BEAT = 3840  # half a tick is under 1 ms at 20 beats a minute and in a first beat half as long again
SLOWEST_US = 2**24 - 1  # a beat: what the format holds


def write_midi(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write a MIDI file of one drum track with tempo and meter, atomically; times are right to 1 ms.

    Every beat has a tempo of its own where beats were estimated, so that bars stand where the music has them and notes
    where they sounded.
    """
    timeline = timeline_of(transcribed, options) or Timeline.steady(transcribed.end_s, options.beats_per_bar)
    ticks, tempos_us = tempo_map(timeline)
    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = [
        (tick, 0, mido.MetaMessage("set_tempo", tempo=tempo))
        for tick, tempo, before in zip(ticks, tempos_us, [0, *tempos_us], strict=False)
        if tempo != before
    ]
    events += [(tick, 0, sign) for tick, sign in _time_signatures(timeline)]
    clock_us = np.append(0, np.cumsum(np.diff(ticks) * tempos_us[:-1])) / TICKS_PER_BEAT

    def tick_of(time_s: np.ndarray) -> np.ndarray:
        at = np.maximum(np.searchsorted(clock_us, time_s * 1e6, side="right") - 1, 0)
        return np.rint(ticks[at] + (time_s * 1e6 - clock_us[at]) * TICKS_PER_BEAT / tempos_us[at]).astype(np.int64)

    onsets, pitches = transcribed.onsets, np.array(options.note_map.of(transcribed.classes))
    for pitch in np.unique(pitches).tolist():
        own = onsets[pitches[onsets.classes] == pitch]
        if np.sum(pitches == pitch) > 1:  # what is struck together in two classes of one pitch is one note
            own = Onsets.of(own.times_s, np.zeros(len(own)), own.velocities).merged()
        starts = tick_of(own.times_s)
        ends = np.maximum(tick_of(own.times_s + NOTE_S), starts + 1)
        ends[:-1] = np.minimum(ends[:-1], starts[1:])  # no note outlasts the next
        velocities = velocities_of(own.velocities, options.velocity).tolist()
        for start, end, velocity in zip(starts.tolist(), ends.tolist(), velocities, strict=True):
            of = {"channel": DRUM_CHANNEL, "note": pitch}
            events.append((start, 2, mido.Message("note_on", velocity=velocity, **of)))
            events.append((end, 1, mido.Message("note_off", velocity=0, **of)))
    name = printable(transcribed.title).encode("latin-1", "replace").decode("latin-1")  # what the format holds
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=f"Drums: {name}" if name else "Drums")])
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):  # at one tick tempo, offs, ons
        track.append(message.copy(time=tick - now))
        now = tick
    with write_atomically(path) as temporary:
        mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(temporary)


def tempo_map(timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Ticks of the anchors (M,) and microseconds a beat from each on (M,).

    Whole microseconds a beat would add up; each makes good what those before it left.
    """
    ticks = np.rint(timeline.positions * TICKS_PER_BEAT).astype(np.int64)
    tempos, now_us = [], 0.0
    for ahead, goal_s in zip(np.diff(ticks).tolist(), timeline.times_s[1:].tolist(), strict=True):
        tempos.append(int(np.clip(round((goal_s * 1e6 - now_us) * TICKS_PER_BEAT / ahead), 1, SLOWEST_US)))
        now_us += tempos[-1] * ahead / TICKS_PER_BEAT
    return ticks, np.array([*tempos, tempos[-1]], np.int64)


def _time_signatures(timeline: Timeline) -> list[tuple[int, mido.MetaMessage]]:
    """Where each meter begins, in ticks: that of the bars, and before it that of a shorter one."""

    def sign(quarters: float) -> mido.MetaMessage:
        whole = quarters == int(quarters)
        numerator, denominator = (int(quarters), 4) if whole else (int(quarters * 4), 16)
        return mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)

    bars = (round(timeline.lead * TICKS_PER_BEAT), sign(timeline.beats_per_bar))
    return [(0, sign(timeline.lead)), bars] if timeline.lead else [bars]
