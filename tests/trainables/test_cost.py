"""What networks cost, against hand arithmetic. T frames, F bands, C channels, D features, K classes."""

import pytest
import torch

from data_prep.manifest import WINDOW_FRAMES as T
from data_prep.refused import Refused
from trainables.cost import COUNTED_WINDOWS, Cost, _count, cost_of
from trainables.models import MODELS
from trainables.network import Network
from trainables.tasks import TASKS

F, K = 84, 5
BF16 = 2  # bytes


def product(rows: int, inner: int, columns: int) -> int:
    """FLOP of (rows, inner) times (inner, columns)."""
    return 2 * rows * inner * columns


def linear(rows: int, inputs: int, outputs: int) -> tuple[int, int]:
    """FLOP forward, and forward and backward: the gradients of inputs and of weights are a product each."""
    return product(rows, inputs, outputs), 3 * product(rows, inputs, outputs)


def recurrent(gates: int, inputs: int, hidden: int, *, first: bool = False) -> tuple[int, int]:
    """A bidirectional layer; the first of a network needs no gradient of its inputs, no layer one of its zero state."""
    of_inputs, of_state = (2 * product(T, size, gates * hidden) for size in (inputs, hidden))
    step = 2 * product(1, hidden, gates * hidden)
    forward = of_inputs + of_state
    return forward, 2 * forward + (0 if first else of_inputs) + of_state - step


def convolution(bands: int, inputs: int, outputs: int) -> tuple[int, int]:
    """A 3x3 convolution; over the spectrogram itself, of one channel, without a gradient of its inputs."""
    forward = product(T * bands, 9 * inputs, outputs)
    return forward, (2 if inputs == 1 else 3) * forward


def attention(width: int) -> list[tuple[int, int]]:
    """A block: queries, keys and values, scores, their mixing, the way out and the feed-forward."""
    scores = product(T, width, T)
    return [
        linear(T, width, 3 * width),
        (2 * scores, 6 * scores),
        linear(T, width, width),
        linear(T, width, 4 * width),
        linear(T, 4 * width, width),
    ]


BLOCKS = [convolution(84, 1, 32), convolution(84, 32, 32), convolution(28, 32, 64), convolution(28, 64, 64)]
MAPS = 64 * 9  # features after two blocks
FIRST_PATCHES = product(T * 6, 14, 48)  # 6 patches of 14 bands
CASES = {
    "gru": (
        "rnn",
        {"layers": 2, "hidden": 48},
        [recurrent(3, F, 48, first=True), recurrent(3, 96, 48), linear(T, 96, K)],
    ),
    "lstm": (
        "rnn",
        {"layers": 2, "hidden": 48, "unit": "lstm"},
        [recurrent(4, F, 48, first=True), recurrent(4, 96, 48), linear(T, 96, K)],
    ),
    "crnn": (
        "crnn",
        {"layers": 1, "hidden": 144},
        [*BLOCKS, recurrent(3, MAPS, 144), linear(T, 288, K)],
    ),
    "cnn": (
        "cnn",
        {"convolutions": 2, "layers": 2, "hidden": 288},
        [*BLOCKS, linear(T, MAPS, 288), linear(T, 288, 288), linear(T, 288, K)],
    ),
    "conv_transformer": (
        "conv_transformer",
        {"layers": 2, "width": 72, "heads": 4},
        [*BLOCKS, linear(T, MAPS, 72), *attention(72), *attention(72), linear(T, 72, K)],
    ),
    "vit": (
        "vit",
        {"layers": 1, "width": 288, "heads": 4, "patch_bands": 14},
        [(FIRST_PATCHES, 2 * FIRST_PATCHES), *attention(288), linear(T, 288, K)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_flop_are_those_of_hand_arithmetic(name):
    architecture, chosen, parts = CASES[name]
    cost = cost_of(architecture, chosen, bands=F, classes=K)
    assert (cost.forward_flop, cost.training_flop) == tuple(map(sum, zip(*parts, strict=True)))


def test_a_convolution_block_keeps_four_maps_the_pooled_one_and_the_places_of_its_maxima():
    cost = cost_of("cnn", {"convolutions": 1, "layers": 1, "hidden": 72}, bands=F, classes=K)
    maps, pooled = 32 * 84, 32 * 28
    block = F * BF16 + 4 * maps * BF16 + pooled * (BF16 + 8)  # places are int64
    assert cost.saved_bytes == pytest.approx(
        T * (block + 72 * BF16), rel=0.001
    )  # beside it norms and dropout: a map each


def test_attention_keeps_features_but_no_scores():
    shallow, deep = (
        cost_of("conv_transformer", {"layers": layers, "width": 144}, bands=F, classes=K) for layers in (1, 2)
    )
    # inputs of the norms, of the linear layers (1 + 1 + 1 + 4 widths), queries, keys, values, GELU, and two dropouts
    widths = 2 + (1 + 1 + 1 + 4) + 3 + 4 + 2
    assert deep.saved_bytes - shallow.saved_bytes == pytest.approx(T * widths * 144 * BF16, rel=0.05)
    twice = cost_of("conv_transformer", {"layers": 2, "width": 144}, bands=F, classes=K, frames=2 * T)
    assert twice.saved_bytes == pytest.approx(2 * deep.saved_bytes, rel=0.001)
    assert twice.forward_flop - 2 * deep.forward_flop == 2 * 2 * (product(2 * T, 144, 2 * T) - 2 * product(T, 144, T))


def test_a_recurrent_layer_keeps_its_gates():
    cost = cost_of("rnn", {"layers": 1, "hidden": 144}, bands=F, classes=K)
    least, most = 2 * 4 * 144, 2 * 10 * 144  # of both directions: three gates and the state, to every term of theirs
    assert T * (F + least) * BF16 < cost.saved_bytes < T * (F + 2 * 144 + most) * BF16


@pytest.mark.parametrize("name", sorted(MODELS))
def test_three_lengths_decide_every_other(name):
    chosen = {"layers": 2}
    with torch.device("meta"):
        network = Network(TASKS["drum_onsets"], name, chosen, bands=F, classes=K).train()
    forward, training, _ = _count(network, F, 17)
    cost = cost_of(name, chosen, bands=F, classes=K, frames=17)
    assert (cost.forward_flop, cost.training_flop) == (forward // COUNTED_WINDOWS, training // COUNTED_WINDOWS)


def test_bytes_of_a_step_grow_with_its_windows():
    one, many = (cost_of("cnn", {}, bands=F, classes=K, windows=windows) for windows in (1, 128))
    assert many.training_bytes - one.training_bytes == 127 * one.saved_bytes
    assert Cost(10, 1, 2, saved_bytes=7, windows=3).training_bytes == 4 * 10 * 4 + 21  # weight, gradient, two moments


def test_parameters_are_the_network_s():
    network = Network(TASKS["drum_onsets"], "crnn", {}, bands=F, classes=K)
    assert cost_of("crnn", {}, bands=F, classes=K).parameters == sum(of.numel() for of in network.parameters())


def test_unknown_names_are_refused():
    with pytest.raises(Refused, match="unknown architecture 'lstm'; choose from cnn"):
        cost_of("lstm", {}, bands=F, classes=K)
    with pytest.raises(Refused, match="unknown key 'depth' in a CnnConfig"):
        cost_of("cnn", {"depth": 3}, bands=F, classes=K)
