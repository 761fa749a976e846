"""A network hears a recording at its level, and in training what it is given."""

import numpy as np
import pytest
import torch
from small_networks import SMALL, TASK

from trainables.checkpoint import Checkpoint
from trainables.config import LEVELS, Settings, TrainingConfig
from trainables.level import at_level
from trainables.network import Network

GENERATOR = torch.Generator().manual_seed(0)
BANDS = (torch.rand(2, 50, 84, generator=GENERATOR) * 2).half()


def network_at(level: str) -> Network:
    torch.manual_seed(0)
    return Network(TASK, "rnn", SMALL["rnn"], bands=84, classes=5, mean=0.5, deviation=0.3, level=level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("gain_db", [0.0, -6.0, 3.0])
@torch.inference_mode()
def test_it_is_the_level_s_and_the_gain_s(level, gain_db):
    heard = network_at(level).eval()(BANDS, gain_db=gain_db)
    plain = network_at("as_recorded").eval()(at_level(BANDS.float(), level, gain_db))
    assert torch.equal(heard, plain)


@torch.inference_mode()
def test_how_loud_a_recording_is_does_not_matter_at_a_window_s_level():
    quiet = at_level(BANDS.float(), "as_recorded", -9.0)
    network = network_at("window").eval()
    torch.testing.assert_close(network(quiet), network(BANDS.float()), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(network(quiet), network_at("as_recorded").eval()(quiet), atol=1e-3)


def test_training_windows_are_taken_as_they_come():
    found = [network_at(level).train() for level in LEVELS]
    for network in found:
        torch.manual_seed(1)  # of dropout
        network.heard = network(BANDS)
    assert all(torch.equal(network.heard, found[0].heard) for network in found)


@torch.inference_mode()
def test_a_checkpoint_hears_as_its_training_did():
    network = network_at("window").eval()
    config = TrainingConfig(("a",), "rnn", SMALL["rnn"], Settings(level="window"))
    checkpoint = Checkpoint(config, tuple("abcde"), "log-filter/1", 84, network.state_dict())
    assert torch.equal(checkpoint.network()(BANDS), network(BANDS))
    assert np.isfinite(checkpoint.network()(BANDS).numpy()).all()
