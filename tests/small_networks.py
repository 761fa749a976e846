"""Networks that are quick on a processor, one of every architecture."""

import torch

from trainables.data import TrainingData
from trainables.network import Network
from trainables.tasks import TASKS

TASK = TASKS["drum_onsets"]
SMALL = {
    "rnn": {"layers": 2, "hidden": 16},
    "cnn": {"hidden": 16},
    "crnn": {"layers": 2, "hidden": 16},
    "conv_transformer": {"heads": 2, "layers": 1, "width": 24},
    "vit": {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24},
}


def network_of(data: TrainingData, name: str) -> Network:
    """The same weights at every call."""
    torch.manual_seed(0)
    return Network.fitting(data, TASK, name, SMALL[name])
