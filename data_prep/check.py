"""A corpus read whole without writing anything: what is in it, and what is wrong with it."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.audio import AudioFacts, probe
from data_prep.classes import VOCABULARIES
from data_prep.corpora import PrepOptions, Track
from data_prep.corpora.track import UnknownLabels
from data_prep.framing import check_ends, check_length, check_names, no_onset
from data_prep.job import Progress, missing_tracks, name_of, plan, prepared_name
from data_prep.manifest import SPLITS, WINDOW_FRAMES, window_count
from data_prep.onsets import onset_frames
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import reason_of
from data_prep.spectrogram import frame_count
from data_prep.workers import run_on_workers

TRACKS_AT_ONCE = 16
CLIPPED_SHARE = 1e-4  # of the samples: four a second at 44.1 kHz
# Findings, the serious ones first: a corpus with one of those is not as it should be.
UNUSABLE, LEAKED = "cannot be used", "same audio in several splits"
SERIOUS = (UNUSABLE, LEAKED)
REPEATED, SHARED = "same audio twice in a split", "shares one audio file with another split"
CLIPPED, SILENT, BEYOND, UNKNOWN = "clipped", "silent", "onsets after the end of the audio", "unknown labels"
KINDS = (*SERIOUS, SILENT, CLIPPED, BEYOND, UNKNOWN, REPEATED, SHARED)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be, with a track."""

    kind: str
    track: str
    split: str
    detail: str


@dataclass
class SplitCheck:
    """What the usable tracks of a split hold; ``tracks`` counts all."""

    tracks: int = 0
    usable: int = 0
    seconds: float = 0.0
    windows: int = 0
    onsets: Counter[str] = field(default_factory=Counter)
    shortest_s: float = float("inf")
    longest_s: float = 0.0


@dataclass
class Report:
    """What a corpus holds, in which audio formats (files), what of the published one is missing, and what was found."""

    corpus: str
    title: str
    classes: tuple[str, ...]
    splits: dict[str, SplitCheck]
    formats: Counter[str] = field(default_factory=Counter)
    unknown_share: float = 1.0  # of the labels that may be unknown
    labels: int = 0
    unknown_labels: Counter[str] = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def serious(self) -> Counter[str]:
        """Findings that the corpus should not have, with counts."""
        found = Counter(finding.kind for finding in self.findings if finding.kind in SERIOUS)
        if self.unknown_labels.total() > self.unknown_share * self.labels:
            found[f"more than {self.unknown_share:.1%} unknown labels"] = 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain scalars, lists and dicts."""
        content = json.loads(json.dumps(self, default=vars))  # asdict() spoils counters
        for split in content["splits"].values():
            if not split["usable"]:
                split["shortest_s"] = None
        return content | {"serious": dict(self.serious)}


@dataclass(frozen=True)
class CheckedTrack:
    """What a track holds, as far as it could be read."""

    id: str
    split: str
    seconds: float
    frames: int
    onsets: tuple[int, ...]
    labels: int
    unknown: Counter[str]
    audio: tuple[tuple[str, AudioFacts], ...]
    findings: tuple[Finding, ...]


def check(
    corpus: str, *, source: Path | None, options: PrepOptions | None = None, progress: Progress | None = None
) -> Report:
    """Read every track of a corpus and report; nothing is written.

    Audio that would be rendered, or was not published, is not looked at. Raises Refused where ``plan`` does.
    """
    described, source, options, tracks = plan(corpus, source, options or PrepOptions())
    classes = VOCABULARIES[options.classes]
    report = Report(
        prepared_name(corpus, options),
        described.title,
        classes,
        {split: SplitCheck() for split in SPLITS},
        missing=missing_tracks(described, tracks),
        unknown_share=options.unknown_labels,
    )
    batches = [tuple(tracks[first : first + TRACKS_AT_ONCE]) for first in range(0, len(tracks), TRACKS_AT_ONCE)]
    checked: list[CheckedTrack] = []
    work = partial(check_tracks, classes=len(classes), whole_tracks=described.whole_tracks)
    for _, done in run_on_workers(work, batches, options.workers, name_of):
        checked += done
        if progress:
            progress(len(checked), len(tracks), "")
    checked.sort(key=lambda track: (SPLITS.index(track.split), track.id))
    for track in checked:
        _add(report, track)
    report.findings += _same_audio(checked)
    report.findings.sort(key=lambda found: (KINDS.index(found.kind), SPLITS.index(found.split), found.track))
    return report


def check_tracks(tracks: Iterable[Track], classes: int, whole_tracks: bool) -> list[CheckedTrack]:
    """Read some tracks."""
    return [check_track(track, classes, whole_tracks) for track in tracks]


def check_track(track: Track, classes: int, whole_tracks: bool = True) -> CheckedTrack:
    """Read one track; whatever is wrong with it becomes a finding."""
    findings: list[Finding] = []
    audio: list[tuple[str, AudioFacts]] = []
    seconds, frames, labels, onsets, unknown = 0.0, 0, 0, np.zeros(classes, int), Counter[str]()
    foreign: UnknownLabels | None = None

    def find(kind: str, detail: str) -> None:
        findings.append(Finding(kind, track.id, track.split, detail))

    for path in track.recording.audio:
        try:
            facts = probe(path)
        except Exception as reason:  # as in the preparation, one bad track never stops a corpus
            find(UNUSABLE, reason_of(reason, track.id))
            continue
        audio.append((str(path), facts))
        if facts.silent:
            find(SILENT, f"{path} holds {facts.seconds:.1f} s of silence")
        if facts.clipped_samples > CLIPPED_SHARE * facts.seconds * facts.rate_hz * facts.channels:
            find(CLIPPED, f"{path} has {facts.clipped_samples:,} samples at full scale (peak {facts.peak:.2f})")
    try:
        check_names(track)
        annotated = track.recording.annotate()
        labels, unknown, found = annotated.labels, annotated.unknown, annotated.onsets
        seconds = max((of.seconds for _, of in audio), default=track.seconds or 0.0)
        samples = max((resampled(of) for _, of in audio), default=round(seconds * SAMPLE_RATE_HZ))
        check_length(track, samples)
        frames = frame_count(samples) if whole_tracks else WINDOW_FRAMES
        if whole_tracks and not labels:
            raise no_onset(track)
        if audio and (beyond := check_ends(track, found, frames)):
            last_s = float(found.times_s[-1])
            find(
                BEYOND,
                f"{beyond} of {len(found)}; the audio lasts {seconds:.1f} s, the last onset is at {last_s:.1f} s",
            )
        if whole_tracks:  # as the preparation does
            inside = onset_frames(found.times_s) < frames
            found = found[inside].merged() if audio else found.merged()
        onsets = np.bincount(found.classes, minlength=classes)
        if unknown:
            find(UNKNOWN, ", ".join(f"{label} ({count})" for label, count in unknown.most_common(10)))
    except Exception as reason:
        find(UNUSABLE, reason_of(reason, track.id))
        foreign = reason if isinstance(reason, UnknownLabels) else None
    if any(finding.kind == UNUSABLE for finding in findings):  # of such a track only foreign labels count
        labels, unknown = (foreign.labels, foreign.unknown) if foreign else (0, Counter())
    return CheckedTrack(
        track.id, track.split, seconds, frames, tuple(map(int, onsets)), labels, unknown, tuple(audio), tuple(findings)
    )


def resampled(facts: AudioFacts) -> int:
    """How many samples a file has at our rate."""
    return -(-round(facts.seconds * facts.rate_hz) * SAMPLE_RATE_HZ // facts.rate_hz)


def _add(report: Report, track: CheckedTrack) -> None:
    split = report.splits[track.split]
    split.tracks += 1
    report.findings += track.findings
    for _, facts in track.audio:
        report.formats[f"{facts.rate_hz:,} Hz, {'mono' if facts.channels == 1 else f'{facts.channels} channels'}"] += 1
    report.labels += track.labels
    report.unknown_labels.update(track.unknown)
    if any(finding.kind == UNUSABLE for finding in track.findings):
        return
    split.usable += 1
    split.seconds += track.seconds
    split.windows += window_count(track.frames)
    split.onsets.update(dict(zip(report.classes, track.onsets, strict=True)))
    split.shortest_s, split.longest_s = min(split.shortest_s, track.seconds), max(split.longest_s, track.seconds)


def _same_audio(tracks: list[CheckedTrack]) -> Iterator[Finding]:
    """Tracks whose audio, all of it or one of several files, is another's as well; silence is no news."""
    whole: dict[tuple[str, ...], list[CheckedTrack]] = {}
    single: dict[str, list[tuple[CheckedTrack, str]]] = {}
    for track in tracks:
        sounding = [(path, facts.checksum) for path, facts in track.audio if not facts.silent]
        if sounding:
            whole.setdefault(tuple(digest for _, digest in sounding), []).append(track)
        if len(sounding) > 1:
            for path, digest in sounding:
                single.setdefault(digest, []).append((track, path))
    for same in whole.values():
        if len(same) > 1:
            first, leaked = same[0], len({track.split for track in same}) > 1
            for track in same[1:]:
                yield Finding(
                    LEAKED if leaked else REPEATED,
                    track.id,
                    track.split,
                    f"sounds just like {first.id} of {first.split}",
                )
    for shared in single.values():
        if len({track.split for track, _ in shared}) > 1:
            first, _ = shared[0]
            for track, path in shared:
                if track.split != first.split:
                    yield Finding(SHARED, track.id, track.split, f"{path} is also heard in {first.id} of {first.split}")
