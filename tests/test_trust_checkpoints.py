"""Checkpoints of strangers: whatever config.json claims, it is refused in a sentence, in seconds, or it runs."""

import json
import time

import pytest
import torch

from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES
from trainables.checkpoint import CONFIG, WEIGHTS, Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.network import Network
from trainables.tasks import TASKS
from trainables.transcription import Transcriber

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
MOST_S = 5.0


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that is good."""
    network = Network(TASKS["drum_onsets"], "vit", SMALL, bands=84, classes=5)
    config = TrainingConfig(("mdb",), "vit", SMALL, Settings())
    Checkpoint(config, CLASSES, FEATURES, 84, network.state_dict()).save(tmp_path / "best")
    return tmp_path / "best"


def rewrite(folder, changes):
    """Other values in config.json; keys with dots lie deeper."""
    content = json.loads((folder / CONFIG).read_text())
    for key, value in changes.items():
        place = content
        *above, last = key.split(".")
        for name in above:
            place = place[name]
        place[last] = value
    (folder / CONFIG).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes",
    [
        *({"bands": value} for value in ("84", 10**12, 84.0, -84, 0, None, True)),
        *({"classes": value} for value in ("ab", [1, 2, 3, 4, 5], [[1]], None, ["kick"] * 5, ["\x1b[2J", *"abcd"])),
        *({"metrics": [1]}, {"epoch": "x"}, {"features": [1]}, {"format": [1]}),
        *({"config.hyperparameters.width": value} for value in (24 * 10**9, 24 * 10**30, -24, "24")),
        *({"config.hyperparameters.layers": value} for value in (30_000, 10**9)),
        *({"config.architecture": value} for value in ("../x", ["vit"], None)),
        *({"config.settings.learning_rate": value} for value in (10**400, float("nan"), None)),
        *({"peak_rule.around_frames": value} for value in (10**9, -3, 0.5)),
        *({"peak_rule.apart_frames": 10**12}, {"peak_rule.threshold": float("nan")}),
    ],
    ids=str,
)
def test_claims_that_cannot_be_are_refused_at_once(folder, changes):
    rewrite(folder, changes)
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        Checkpoint.load(folder)
    assert time.monotonic() - began < MOST_S
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("content", ["[" * 500_000, "[1]", "null", '{"a":' * 100_000, " " * (2 << 20), "\udcff"])
def test_a_config_that_is_none(folder, content):
    (folder / CONFIG).write_text(content, errors="surrogateescape")
    with pytest.raises(Refused, match=r"config\.json|is damaged"):
        Checkpoint.load(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (10**12).to_bytes(8, "little") + b"{}",
        *(
            len(text).to_bytes(8, "little") + text + b"\0" * 8
            for text in (
                b'{"head.bias":{"dtype":"F32","shape":[5],"data_offsets":[0,99999999]}}',
                b'{"head.bias":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}}',
                b'{"head.bias":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}',
                b'{"head.bias":{"dtype":"OBJECT","shape":[2],"data_offsets":[0,8]}}',
                b"[" * 10_000,
            )
        ),
    ],
)
def test_weights_whose_header_lies(folder, header):
    (folder / WEIGHTS).write_bytes(header)
    with pytest.raises(Refused, match=r"best is damaged .*pull it again"):
        Checkpoint.load(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_links_are_followed_and_what_they_lead_to_is_not_shown(folder, name, tmp_path):
    secret = tmp_path / "secret"
    (folder / name).rename(secret)
    (folder / name).symlink_to(secret)
    assert Checkpoint.load(folder).classes == CLASSES  # stores of checkpoints are made of links
    secret.write_text("password = hunter2")
    with pytest.raises(Refused, match="is damaged") as refused:
        Checkpoint.load(folder)
    assert "hunter2" not in str(refused.value)
    for elsewhere in ("/dev/zero", "/", folder / name):
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere)
        with pytest.raises(Refused, match=rf"it lacks {name}"):
            Checkpoint.load(folder)


def test_classes_that_no_midi_file_has(folder):
    rewrite(folder, {"classes": list("abcde")})
    checkpoint = Checkpoint.load(folder)
    assert checkpoint.network()(torch.rand(1, 50, 84)).shape == (1, 50, 5)
    with pytest.raises(Refused, match=r"has a class 'a'; expected some of kick, snare"):
        Transcriber(checkpoint)
