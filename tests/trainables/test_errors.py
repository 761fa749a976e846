"""What errors coincide with: planted errors give just the planted table; what is counted is what evaluate counts."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.manifest import WINDOW_FRAMES
from data_prep.onsets import ONSET
from data_prep.shards import Corpus
from trainables import listening
from trainables.checkpoint import Checkpoint
from trainables.coincidence import ALARM_KINDS, MISS_KINDS, PARTNERED, Row, explain_alarms, explain_misses
from trainables.config import Settings, TrainingConfig
from trainables.data import SplitData
from trainables.errors import find_errors
from trainables.evaluation import evaluate
from trainables.loop import train
from trainables.metrics import join_tracks
from trainables.peaks import PeakRule
from trainables.rises import flux, rises

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
KICK, SNARE, TOMS, HAT, CYMBALS = range(5)
FRAMES = 60


def row(activations=(), risen=(), **marks):
    """A row from activations (frame, class, value) and from onsets (frame, class) of each kind."""
    tables = {name: np.zeros((FRAMES, 5), bool) for name in ("hits", "alarms", "found", "missed")}
    for name, places in marks.items():
        for place in places:
            tables[name][place] = True
    values, up = np.zeros((FRAMES, 5), np.float32), np.zeros(FRAMES, bool)
    for frame, of, value in activations:
        values[frame, of] = value
    up[list(risen)] = True
    return Row(values, up, **tables)


def told(explained, kinds):
    return [
        (CLASSES[of], list(kinds)[kind], None if other == 5 else CLASSES[other])
        for of, kind, other in zip(explained.classes, explained.kinds, explained.others, strict=True)
    ]


def alarm(**planted):
    return told(explain_alarms(row(alarms=[(30, KICK)], **planted)), ALARM_KINDS)


def miss(**planted):
    return told(explain_misses(row(missed=[(30, KICK)], **planted), (0.5,) * 5), MISS_KINDS)


@pytest.mark.parametrize("at", [25, 30, 35])
def test_each_kind_of_false_alarm(at):
    assert alarm(found=[(at, KICK)]) == [("kick", "double", None)]
    assert alarm(missed=[(at, TOMS)]) == [("kick", "confused", "toms")]
    assert alarm(found=[(at, HAT)], hits=[(at, HAT)]) == [("kick", "along", "hi-hat")]
    assert alarm(risen=[at]) == [("kick", "rise", None)]
    assert alarm() == [("kick", "nothing", None)]


@pytest.mark.parametrize("at", [24, 36])
def test_beyond_50_ms_nothing_explains_a_false_alarm(at):
    every = {"found": [(at, KICK), (at, HAT)], "missed": [(at, TOMS)], "risen": [at]}
    assert alarm(**every) == [("kick", "nothing", None)]


def test_the_first_kind_that_fits_and_the_nearest_class():
    every = {"found": [(30, KICK), (30, HAT)], "missed": [(33, TOMS), (28, SNARE)], "risen": [30]}
    assert alarm(**every) == [("kick", "double", None)]
    every["found"] = [(30, HAT)]
    assert alarm(**every) == [("kick", "confused", "snare")]
    every["missed"] = [(28, CYMBALS), (32, SNARE)]  # equally near
    assert alarm(**every) == [("kick", "confused", "snare")]
    every["missed"] = []
    assert alarm(**every) == [("kick", "along", "hi-hat")]


@pytest.mark.parametrize("at", [25, 30, 35])
def test_each_kind_of_miss(at):
    assert miss(hits=[(at, KICK)]) == [("kick", "merged", None)]
    assert miss(activations=[(at, KICK, 0.6)]) == [("kick", "unpicked", None)]
    assert miss(alarms=[(at, TOMS)], activations=[(at, TOMS, 0.9)]) == [("kick", "confused", "toms")]
    assert miss(activations=[(at, KICK, 0.4)]) == [("kick", "faint", None)]
    assert miss(activations=[(at, KICK, 0.09)]) == [("kick", "unheard", None)]
    assert miss(hits=[(at, HAT)], found=[(at, HAT)]) == [("kick", "masked", "hi-hat")]
    assert miss() == [("kick", "unheard", None)]


def test_the_first_kind_of_miss_that_fits():
    assert miss(alarms=[(31, TOMS)], hits=[(30, HAT)], activations=[(30, KICK, 0.3)]) == [("kick", "confused", "toms")]
    assert miss(hits=[(30, HAT)], activations=[(30, KICK, 0.3)]) == [("kick", "faint", None)]
    assert miss(alarms=[(30, KICK), (30, TOMS)]) == [("kick", "merged", None)]
    slope = [(35, KICK, 0.3), (36, KICK, 0.4)]  # the foot of a peak that is too far away
    assert miss(activations=slope) == [("kick", "unheard", None)]


tables_drawn = st.lists(st.tuples(st.integers(0, FRAMES - 1), st.integers(0, 4)), max_size=40)


@settings(max_examples=60)
@given(*[tables_drawn] * 4, st.integers(0, 1000))
def test_each_error_has_one_kind_and_a_partner_where_its_kind_has_one(hits, alarms, found, missed, seed):
    of = row(hits=hits, alarms=alarms, found=found, missed=missed)
    of.activations[:] = np.random.default_rng(seed).random(of.activations.shape) ** 3
    for explained, kinds, errors in (
        (explain_alarms(of), list(ALARM_KINDS), of.alarms),
        (explain_misses(of, (0.3, 0.5, 0.5, 0.7, 0.9)), list(MISS_KINDS), of.missed),
    ):
        np.testing.assert_array_equal(np.bincount(explained.classes, minlength=5), errors.sum(axis=0))
        partnered = np.isin(explained.kinds, [kinds.index(kind) for kind in kinds if kind in PARTNERED])
        np.testing.assert_array_equal(explained.others < 5, partnered)
        assert (explained.others != explained.classes).all()
        counts = explained.counts(len(kinds), 5)
        assert counts.sum() == errors.sum()


@pytest.fixture(scope="module")
def checkpoint(shards) -> Checkpoint:
    """Half trained, so that it errs."""
    settings = Settings(batch_size=4, max_epochs=6, learning_rate=1e-2, precision="fp32")
    return [
        epoch.checkpoint for epoch in train(TrainingConfig(("mdb",), "vit", SMALL, settings), shards, device="cpu")
    ][-1]


@pytest.mark.parametrize("threshold", [0.02, 0.97])
@pytest.mark.parametrize("protocol", ["tracks", "segments"])
def test_the_errors_are_those_that_evaluate_counts(checkpoint, shards, protocol, threshold):
    rule = PeakRule(threshold=threshold, delta=0.0)
    arguments = {"split": "all", "protocol": protocol, "device": "cpu", "rule": rule}
    errors = find_errors(checkpoint, "mdb", shards, **arguments)
    score = evaluate(checkpoint, "mdb", shards, **arguments)
    assert json.loads(json.dumps(asdict(errors))) == asdict(errors)
    for name, of in errors.classes.items():
        expected = score.classes[name]
        hits = round(expected.recall * expected.onsets)
        assert of["onsets"] == expected.onsets
        assert of["misses"]["count"] == expected.onsets - hits
        assert of["false_alarms"]["count"] == (
            round(hits / expected.precision) - hits if hits else of["false_alarms"]["count"]
        )
        for kind in ("false_alarms", "misses"):
            parts = [sum(n.values()) if isinstance(n, dict) else n for n in of[kind].values()]
            assert 2 * parts[0] == sum(parts)
    kind = "misses" if threshold > 0.5 else "false_alarms"
    assert sum(of[kind]["count"] for of in errors.classes.values()) > 10


def planted(shards, plant):
    """The activations of a network that hears what the targets say but for what ``plant`` (track, activations) does."""
    data = SplitData([Corpus.open(shards / "mdb")], "test")
    tracks = [(data.track(number).targets == ONSET).astype(np.float32) * 0.9 for number in range(len(data.frames))]
    for number, activations in enumerate(tracks):
        plant(number, activations)
    return [torch.from_numpy(of) for of in tracks]


@pytest.mark.parametrize("protocol", ["tracks", "segments"])
def test_planted_errors_give_the_planted_table(checkpoint, shards, monkeypatch, protocol):
    expected = {}

    def plant(number, activations):
        """Every kick of the first track is taken for toms, every second snare is faint, and one hat is doubled."""
        if number:
            return
        kicks, snares, hats = (np.flatnonzero(activations[:, of]) for of in (KICK, SNARE, HAT))
        activations[kicks, KICK] = 0
        activations[kicks + 2, TOMS] = 0.8
        activations[snares[::2], SNARE] = 0.3
        activations[hats[1] + 4, HAT] = 0.7
        expected.update(kicks=len(kicks), snares=len(snares[::2]))

    tracks = planted(shards, plant)

    def hear(network, data, precision, gains_db):
        if protocol == "tracks":
            yield listening.Heard(join_tracks(tracks[:1]), 0, np.array([10]))
            ends = np.cumsum([len(of) + 10 for of in tracks[1:]])
            yield listening.Heard(join_tracks(tracks[1:]), 1, ends - [len(of) for of in tracks[1:]])
            return
        pieces = [piece for of in tracks for piece in of.split(WINDOW_FRAMES)]
        padded = [torch.nn.functional.pad(of, (0, 0, 0, WINDOW_FRAMES - len(of))) for of in pieces]
        yield listening.Heard(torch.stack(padded), 0, np.arange(len(padded)) * WINDOW_FRAMES)

    monkeypatch.setitem(listening.PROTOCOLS, protocol, hear)
    found = find_errors(checkpoint, "mdb", shards, protocol=protocol, rule=PeakRule()).classes
    kicks, snares = expected["kicks"], expected["snares"]
    assert kicks > 2
    assert snares > 2

    def nonzero(of):
        """Every count above 0 by its place."""
        counts = {}
        for kind, value in of.items():
            parts = (
                {f"{kind} {name}": count for name, count in value.items()} if isinstance(value, dict) else {kind: value}
            )
            counts |= {name: count for name, count in parts.items() if count}
        return counts

    # the first two frames of a segment never hold a peak
    edges = [np.flatnonzero(np.arange(len(of)) % WINDOW_FRAMES < 2) for of in tracks if protocol == "segments"]
    unpicked = sum((np.array(of)[at] > 0.5).sum(axis=0) for of, at in zip(tracks, edges, strict=False)) + np.zeros(5)
    for name, count in zip(CLASSES, unpicked, strict=True):
        assert found[name]["misses"].pop("unpicked") == count
        found[name]["misses"]["count"] -= int(count)
    assert nonzero(found["kick"]["misses"]) == {"count": kicks, "confused toms": kicks}
    assert nonzero(found["toms"]["false_alarms"]) == {"count": kicks, "confused kick": kicks}
    assert nonzero(found["snare"]["misses"]) == {"count": snares, "faint": snares}
    assert nonzero(found["hi-hat"]["false_alarms"]) == {"count": 1, "double": 1}
    assert sum(of["misses"]["count"] for of in found.values()) == kicks + snares
    assert sum(of["false_alarms"]["count"] for of in found.values()) == kicks + 1


def test_loudness_is_by_quarters(checkpoint, shards, monkeypatch):
    from trainables.listening import Scored

    found = find_errors(checkpoint, "mdb", shards, split="all")
    assert {of["loudness"] for of in found.classes.values()} == {None}  # nobody knows
    whole = Scored.exact

    def exact(self, corpus):
        events, velocities = whole(self, corpus)
        return events, np.where(events.classes == KICK, np.float32(0.5), np.linspace(0, 1, len(velocities)))

    monkeypatch.setattr(Scored, "exact", exact)
    found = find_errors(checkpoint, "mdb", shards, split="all").classes
    (kicks,) = found["kick"]["loudness"]  # all alike
    assert (kicks["from"], kicks["to"], kicks["onsets"]) == (0.5, 0.5, found["kick"]["onsets"])
    for of in list(found.values())[1:]:
        quarters = of["loudness"]
        sizes = [quarter["onsets"] for quarter in quarters]
        assert len(quarters) == 4
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == of["onsets"]
        assert sum(quarter["misses"] for quarter in quarters) == of["misses"]["count"]
        bounds = [bound for quarter in quarters for bound in (quarter["from"], quarter["to"])]
        assert bounds == sorted(bounds)


def test_energy_rises_where_something_is_struck():
    generator = np.random.default_rng(0)
    bands = generator.random((500, 84)).astype(np.float16) * 0.02
    for frame in (50, 200, 420):
        decay = np.exp(-np.arange(30) / 8)[:, None] * generator.random(84)
        bands[frame : frame + 30] += decay.astype(np.float16)
    assert set(np.flatnonzero(rises(bands))) >= {50, 200, 420}
    np.testing.assert_array_equal(rises(bands), rises(bands * np.float16(2)))  # whatever the level
    assert not rises(np.zeros((40, 84), np.float16)).any()
    assert flux(bands)[0] == 0
    slow = sum(max(0.0, float(bands[50, of]) - float(bands[49, of])) for of in range(84))
    assert flux(bands)[50] == pytest.approx(slow, rel=1e-4)


def test_the_share_of_rises_is_given_beside(checkpoint, shards):
    assert 0 <= find_errors(checkpoint, "mdb", shards).rise_by_chance <= 1
