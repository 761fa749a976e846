"""Every architecture: parameter counts of the reference, shapes, gradients, refusals."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from data_prep.refused import Refused
from trainables.models import MODELS, build_model
from trainables.models.blocks import sinusoids
from trainables.network import Network, autocast
from trainables.tasks import TASKS

TASK = TASKS["drum_onsets"]
OURS = {"num_layers": "layers", "hidden_size": "hidden", "num_convs": "convolutions", "num_heads": "heads"}
OURS |= {"embed_dim": "width"}


def ours(row: dict) -> dict:
    """The reference's names for hyperparameters in our words."""
    chosen = {OURS.get(name, name): value for name, value in row.items() if name not in ("architecture", "parameters")}
    if "use_gru" in chosen:
        chosen["unit"] = "gru" if chosen.pop("use_gru") else "lstm"
    if "patch_size" in chosen:
        chosen["patch_bands"] = chosen.pop("patch_size")[1]
    return chosen


ROWS = json.loads((Path(__file__).parents[1] / "data" / "parameter_counts.json").read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(str(value) for value in row.values()))
def test_parameter_counts_are_the_reference_ones(row):
    with torch.device("meta"):
        network = Network(TASK, row["architecture"], ours(row), bands=84, classes=5)
    assert network.parameter_count == row["parameters"]


def test_the_table_of_counts_covers_every_architecture():
    assert {row["architecture"] for row in ROWS} == set(MODELS)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_gives_a_logit_per_frame_and_class_and_learns_in_every_weight(name, precision):
    torch.manual_seed(0)
    network = Network(TASK, name, {}, bands=84, classes=5, mean=0.3, deviation=0.4)
    bands = torch.rand(2, 48, 84).half()
    with autocast(torch.device("cpu"), precision):
        logits = network(bands)
    assert logits.shape == (2, 48, 5)
    TASK.loss(logits, torch.ones(2, 48, 5), None).backward()
    # the last keys' biases of attention shift every score alike, so their gradient is zero, but it is there
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_bands_are_standardised_with_the_network_s_own_moments(name):
    torch.manual_seed(0)
    plain = Network(TASK, name, {}, bands=84, classes=5).eval()
    moved = Network(TASK, name, {}, bands=84, classes=5, mean=2.0, deviation=4.0).eval()
    moved.load_state_dict({**plain.state_dict(), "mean": torch.tensor(2.0), "deviation": torch.tensor(4.0)})
    bands = torch.rand(1, 30, 84)
    torch.testing.assert_close(moved(bands * 4 + 2), plain(bands), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_hyperparameters_are_refused_by_name_and_type(name):
    first = fields(MODELS[name].config)[0]
    with pytest.raises(Refused, match=f"unknown key 'depth' in a .*; expected {first.name}"):
        build_model(name, {"depth": 3}, 84)
    with pytest.raises(Refused, match=f"{first.name} = 'three' in a .*; expected int"):
        build_model(name, {first.name: "three"}, 84)


def test_unknown_architecture():
    with pytest.raises(Refused, match="unknown architecture 'lstm'; choose from cnn, conv_transformer, crnn, rnn, vit"):
        build_model("lstm", {}, 84)


@pytest.mark.parametrize(("name", "chosen"), [("vit", {"patch_bands": 5}), ("vit", {"width": 100})])
def test_patches_that_do_not_fit(name, chosen):
    with pytest.raises(Refused, match="expected patches that divide 84 bands"):
        build_model(name, chosen, 84)


@pytest.mark.parametrize(
    ("name", "chosen", "words"),
    [
        ("crnn", {"unit": "elman"}, "unit = 'elman'; choose from gru, lstm"),
        ("cnn", {"convolutions": 4}, "convolutions = 4; choose from 1, 2, 3"),
        ("conv_transformer", {"heads": 7}, "width = 144 is no multiple of heads = 7"),
        ("rnn", {"layers": 0}, "layers = 0; expected 1 or more"),
    ],
)
def test_hyperparameters_that_build_nothing(name, chosen, words):
    with pytest.raises(Refused, match=words):
        build_model(name, chosen, 84)


def test_positions_are_vaswani_s():
    positions = sinusoids(7, 6, torch.device("cpu"))
    for frame in range(7):
        for pair in range(3):
            angle = torch.tensor(frame / 10_000 ** (2 * pair / 6))
            torch.testing.assert_close(positions[frame, 2 * pair], angle.sin(), atol=1e-5, rtol=0)
            torch.testing.assert_close(positions[frame, 2 * pair + 1], angle.cos(), atol=1e-5, rtol=0)


def test_attention_is_torch_s_own():
    from trainables.models.blocks import AttentionBlock

    torch.manual_seed(0)
    block = AttentionBlock(width=24, heads=4).eval()
    theirs = torch.nn.TransformerEncoderLayer(
        24, 4, dim_feedforward=96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    theirs.self_attn.in_proj_weight.data = block.queries_keys_values.weight.data
    theirs.self_attn.in_proj_bias.data = block.queries_keys_values.bias.data
    theirs.self_attn.out_proj.load_state_dict(block.attention_out.state_dict())
    theirs.linear1.load_state_dict(block.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(block.feed_forward[2].state_dict())
    theirs.norm1.load_state_dict(block.attention_norm.state_dict())
    theirs.norm2.load_state_dict(block.feed_forward_norm.state_dict())
    features = torch.randn(2, 11, 24)
    torch.testing.assert_close(block(features), theirs(features), atol=1e-5, rtol=1e-5)


def test_configs_travel_as_json():
    for family in MODELS.values():
        config = replace(family.config(), layers=4)
        assert family.config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_gradients_of_convolutions_do_not_depend_on_how_maps_lie_in_memory():
    torch.manual_seed(0)
    convolutions = build_model("crnn", {}, 84).over_bands.eval()
    bands, towards = torch.rand(2, 30, 84), torch.randn(2, 30, 576)
    layouts: list[bool] = []
    pooling = convolutions.blocks[-1][-2]
    pooling.register_full_backward_hook(
        lambda _, __, by_output: layouts.append(by_output[0].is_contiguous(memory_format=torch.channels_last))
    )
    (convolutions(bands) * towards).sum().backward()
    ours = [parameter.grad.clone() for parameter in convolutions.parameters()]
    assert layouts == [True]
    convolutions.zero_grad()
    maps = convolutions.blocks.to(memory_format=torch.contiguous_format)(bands.unsqueeze(1))
    (maps.permute(0, 2, 1, 3).flatten(2) * towards).sum().backward()
    assert layouts == [True, False]
    theirs = [parameter.grad for parameter in convolutions.parameters()]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
