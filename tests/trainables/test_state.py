"""A training that was cut goes on as if it had not been; what is no whole state, or of another network, is refused."""

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load, save
from small_networks import SMALL, TASK

from data_prep.refused import Refused
from trainables import state as states
from trainables.config import Settings, TrainingConfig
from trainables.loop import Epoch, FitEpoch, fit, train
from trainables.network import Network
from trainables.state import KEY, TrainingState, checksum

NETWORKS = {
    **{name: (name, chosen) for name, chosen in SMALL.items()},
    "lstm": ("rnn", {**SMALL["rnn"], "unit": "lstm"}),  # the unit of the others is the GRU
}
EPOCHS = 6
CUT = 3
PLATEAU = {"learning_rate": 0.02, "plateau_patience_epochs": 0, "stop_patience_epochs": 3}
SAID = ("train_loss", "validation_loss", "validation_micro_f1", "learning_rate", "micro_batch")


def config_of(name: str, **changes) -> TrainingConfig:
    architecture, chosen = NETWORKS[name]
    settings = {"batch_size": 4, "max_epochs": EPOCHS, "learning_rate": 5e-3, "precision": "fp32", **changes}
    return TrainingConfig(("mdb",), architecture, chosen, Settings(**settings))


def told(epoch: Epoch) -> tuple:
    """What a resumed training has to repeat, to the last bit."""
    return epoch.number, epoch.is_best, *(epoch.metrics[name] for name in SAID)


def all_of(epochs: Iterator[Epoch]) -> list[Epoch]:
    """Every epoch, its state taken."""
    kept = []
    for epoch in epochs:
        assert epoch.state.epoch == epoch.number
        kept.append(epoch)
    return kept


def first_state(epochs: Iterator[FitEpoch]) -> TrainingState:
    return next(epoch.state for epoch in epochs)


def through_bytes(epoch: Epoch) -> TrainingState:
    """As another process finds it, whose generators are elsewhere."""
    content = epoch.state.to_bytes({"trial": "trial-0007"})
    torch.manual_seed(123_456)
    np.random.seed(7)  # noqa: NPY002
    state, also = TrainingState.from_bytes(content)
    assert also == {"trial": "trial-0007"}
    return state


def assert_same(tensors: dict, others: dict) -> None:
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        assert torch.equal(value, others[name]), name


def assert_goes_on(config: TrainingConfig, shards: Path, whole: list[Epoch], cut: int) -> None:
    """From the state after ``cut`` epochs on all is as in the whole training, and so is the state after the last."""
    state = through_bytes(whole[cut - 1])
    rest = all_of(train(config, shards, device="cpu", resume=state))
    assert [told(epoch) for epoch in rest] == [told(epoch) for epoch in whole[cut:]]
    for mine, other in zip(rest, whole[cut:], strict=True):
        assert_same(mine.checkpoint.weights, other.checkpoint.weights)
    if rest:
        assert_same(rest[-1].state.tensors, whole[-1].state.tensors)
        assert rest[-1].state.facts == whole[-1].state.facts


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_that_was_cut_goes_on_to_the_last_bit(shards, name):
    config = config_of(name)
    whole = all_of(train(config, shards, device="cpu"))
    assert len({epoch.metrics["train_loss"] for epoch in whole}) == EPOCHS
    assert_goes_on(config, shards, whole, CUT)


@pytest.fixture(scope="module")
def fallen(shards) -> list[Epoch]:
    """A training whose learning rate falls again and again, and that stops before its last epoch."""
    config = config_of("vit", max_epochs=40, **PLATEAU)
    return all_of(train(config, shards, device="cpu"))


def test_wherever_it_is_cut_learning_rate_and_early_stop_are_the_same(shards, fallen):
    rates = [epoch.metrics["learning_rate"] for epoch in fallen]
    assert len(set(rates)) > 2
    assert len(fallen) < 40
    for cut in range(1, len(fallen) + 1):
        assert_goes_on(config_of("vit", max_epochs=40, **PLATEAU), shards, fallen, cut)


def test_it_may_be_cut_again_and_again(shards):
    """Compared with a training that nobody asks for a state."""
    config = config_of("rnn")
    whole = [told(epoch) for epoch in train(config, shards, device="cpu")]
    found, state = [], None
    while len(found) < EPOCHS:
        going = train(config, shards, device="cpu", resume=state)
        epoch = next(going)
        found.append(told(epoch))
        state = through_bytes(epoch)
    assert found == whole


def test_another_process_goes_on_as_this_one_would(shards, tmp_path):
    config = config_of("rnn")
    going = train(config, shards, device="cpu")
    (tmp_path / "state").write_bytes([next(going).state for _ in range(CUT)][-1].to_bytes({}))
    code = f"""
import json, sys, torch
from pathlib import Path
from trainables.config import TrainingConfig
from trainables.loop import train
from trainables.state import TrainingState
torch.set_num_threads(1)
state, _ = TrainingState.from_bytes(Path(sys.argv[1]).read_bytes())
epochs = train(TrainingConfig.from_dict(json.loads(sys.argv[2])), Path(sys.argv[3]), device="cpu", resume=state)
print(json.dumps([[epoch.number, epoch.is_best, *(epoch.metrics[name] for name in {SAID})] for epoch in epochs]))
"""
    given_ = (str(tmp_path / "state"), json.dumps(config.to_dict()), str(shards))
    done = subprocess.run(
        [sys.executable, "-c", code, *given_],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert [tuple(of) for of in json.loads(done.stdout)] == [told(epoch) for epoch in going]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_s_generator_goes_along(shards):
    config = config_of("vit")
    whole = all_of(train(config, shards, device="cuda"))
    state = through_bytes(whole[CUT - 1])
    torch.cuda.manual_seed(123_456)
    (first, *_) = all_of(train(config, shards, device="cuda", resume=state))
    assert first.metrics["train_loss"] == pytest.approx(whole[CUT].metrics["train_loss"], rel=1e-4)
    assert torch.equal(first.state.tensors["generator.cuda"], whole[CUT].state.tensors["generator.cuda"])
    assert next(train(config, shards, device="cpu", resume=state)).number == CUT + 1


def test_a_training_that_had_ended_yields_nothing_more(shards, fallen):
    assert fallen[-1].number < 40
    stood_still = config_of("vit", max_epochs=40, **PLATEAU)
    assert list(train(stood_still, shards, device="cpu", resume=fallen[-1].state)) == []
    done = all_of(train(config_of("vit", max_epochs=1), shards, device="cpu"))
    assert list(train(config_of("vit", max_epochs=1), shards, device="cpu", resume=done[-1].state)) == []
    (more,) = train(config_of("vit", max_epochs=2), shards, device="cpu", resume=done[-1].state)
    assert more.number == 2


def test_fewer_windows_at_once_stay_fewer(shards):
    """A batch that did not fit before does not fit later; and it decides what batch normalisation sees."""
    config = config_of("crnn")
    state = first_state(train(config, shards, device="cpu"))
    tight = replace(state, facts={**state.facts, "windows_at_once": [2, 1]})
    metrics = next(train(config, shards, device="cpu", resume=tight)).metrics
    assert (metrics["micro_batch"], metrics["validation_micro_batch"]) == (2.0, 1.0)
    roomy = replace(state, facts={**state.facts, "windows_at_once": [400, 4000]})
    metrics = next(train(config, shards, device="cpu", resume=roomy)).metrics
    assert (metrics["micro_batch"], metrics["validation_micro_batch"]) == (4.0, 32.0)


def test_what_is_taken_stays_as_it_was_and_is_copied_once(shards):
    going = train(config_of("cnn"), shards, device="cpu")
    first = next(going)
    state = first.state
    assert state is first.state
    assert all(state.tensors[f"network.{name}"] is value for name, value in first.checkpoint.weights.items())
    before = state.to_bytes({})
    second = next(going)
    assert state.to_bytes({}) == before
    assert second.state.facts != state.facts
    assert not torch.equal(second.state.tensors["generator.cpu"], state.tensors["generator.cpu"])


def test_a_state_is_of_the_moment_after_its_epoch_or_of_none(shards):
    going = train(config_of("vit"), shards, device="cpu")
    first = next(going)
    next(going)
    with pytest.raises(AssertionError, match="the state of epoch 1 when the training had gone on or ended"):
        _ = first.state


def test_an_epoch_that_is_kept_holds_no_network(shards):
    """A GPU's memory is free for the next training in the process, whoever still holds this one's epochs."""
    going = train(config_of("vit"), shards, device="cpu")
    epoch = next(going)
    training = weakref.ref(epoch.snapshot._still())
    going.close()
    gc.collect()
    assert training() is None
    assert epoch.checkpoint.network() is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_is_three_times_the_weights(data, name):
    architecture, chosen = NETWORKS[name]
    torch.manual_seed(0)
    network = Network.fitting(data, TASK, architecture, {**chosen, **WIDER.get(architecture, {})})
    going = fit(network, TASK, data, Settings(batch_size=12, max_epochs=1, precision="fp32"))
    epoch = next(going)
    weights = sum(value.nbytes for value in network.state_dict().values())
    assert 2.9 * weights < len(epoch.state.to_bytes({})) < 3.1 * weights + 40_000  # generators, names


WIDER = {"rnn": {"hidden": 72}, "crnn": {"hidden": 72}, "cnn": {"hidden": 72}}


def test_every_layout_in_memory_is_put_back_as_it_was(data):
    """Kernels lie channels-last, and the fused step goes through weights and moments without a look at strides."""
    settings = Settings(batch_size=12, max_epochs=2, precision="fp32")
    torch.manual_seed(0)
    network = Network.fitting(data, TASK, "cnn", SMALL["cnn"])
    state = first_state(fit(network, TASK, data, settings))
    network = Network.fitting(data, TASK, "cnn", SMALL["cnn"])
    going = fit(network, TASK, data, settings, resume=state)
    last = next(going)
    training = last.snapshot._still()
    assert not all(parameter.is_contiguous() for parameter in network.parameters())
    for parameter in network.parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            assert training.optimiser.state[parameter][moment].stride() == parameter.stride()
    assert all(value.is_contiguous() for value in last.state.tensors.values())


def changed(tensors: dict, **changes) -> dict:
    return {name: value for name, value in (tensors | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network.head.bias": None}, r"'network.head.bias' is missing, not float32 \(5,\)"),
        ({"network.tail": torch.zeros(2)}, r"'network.tail' is float32 \(2,\), not there"),
        (
            {"optimiser.head.bias.step": torch.zeros(1)},
            r"'optimiser.head.bias.step' is float32 \(1,\), not float32 \(\)",
        ),
        (
            {"network.head.bias": torch.zeros(5, dtype=torch.float64)},
            r"'network.head.bias' is float64 \(5,\), not float32 \(5,\)",
        ),
        ({"generator.cpu": None}, "'generator.cpu' is missing, not uint8"),
    ],
)
def test_a_state_of_another_network_is_refused_and_changes_nothing(data, change, words):
    settings = Settings(batch_size=12, max_epochs=2, precision="fp32")
    network = Network.fitting(data, TASK, "vit", SMALL["vit"])
    state = first_state(fit(network, TASK, data, settings))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = replace(state, tensors=changed(state.tensors, **change))
    with pytest.raises(Refused, match=rf"of epoch 1 does not fit the network \({words}"):
        next(fit(network, TASK, data, settings, resume=other))
    assert_same(before, network.state_dict())


def test_hyperparameters_that_are_others_are_refused(shards):
    state = first_state(train(config_of("rnn"), shards, device="cpu"))
    for changes in ({"hidden": 24}, {"layers": 3}, {"unit": "lstm"}):
        config = config_of("rnn")
        config = replace(config, hyperparameters={**config.hyperparameters, **changes})
        with pytest.raises(Refused, match=r"does not fit the network .*resume with the configuration"):
            next(train(config, shards, device="cpu", resume=state))


def test_more_learning_rates_than_the_optimiser_has(shards):
    state = first_state(train(config_of("rnn"), shards, device="cpu"))
    with pytest.raises(Refused, match="it has 2 learning rates, not 1"):
        next(
            train(config_of("rnn"), shards, resume=replace(state, facts={**state.facts, "learning_rates": [0.1, 0.1]}))
        )


def facts_of(**changes) -> dict:
    facts = {
        "learning_rates": [1e-3],
        "plateau": {"best": 0.5, "num_bad_epochs": 1, "cooldown_counter": 0, "last_epoch": 3},
        "best": None,
        "lowest_loss": 0.5,
        "lowest_epoch": 2,
        "windows_at_once": [128, 32],
        "generator": np.random.default_rng(0).bit_generator.state,
    }
    return facts | changes


SMALL_STATE = TrainingState(3, {"network.weight": torch.arange(6.0).view(2, 3), "step": torch.tensor(7.0)}, facts_of())
CONTENT = SMALL_STATE.to_bytes({"history": [{"loss": 0.25, "epoch": 1}], "trial": "trial-0007"})
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def tensors_of_any_shape(draw) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    seed = draw(st.integers(0, 99))
    values = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed))
    return values.to(draw(st.sampled_from(TYPES)))


@given(
    epoch=st.integers(1, 10_000),
    tensors=st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), tensors_of_any_shape(), max_size=4),
    best=st.none() | finite,
    rates=st.lists(finite, max_size=2),
    seed=st.integers(0, 2**64),
    also=st.dictionaries(st.text(), json_values, max_size=3),
)
@example(1, {}, None, [], 0, {"\ud800": ["\ud800"]})
@example(1, {"turned": torch.arange(6).view(2, 3).T}, 0.1 + 0.2, [5e-324], 1, {})
def test_what_is_written_is_read(epoch, tensors, best, rates, seed, also):
    tensors.pop("__metadata__", None)
    generator = np.random.default_rng(seed).bit_generator.state
    state = TrainingState(epoch, tensors, facts_of(best=best, learning_rates=rates, generator=generator))
    read, beside = TrainingState.from_bytes(state.to_bytes(also))
    assert (read.epoch, read.facts, beside) == (epoch, state.facts, also)
    assert {name: (of.dtype, of.shape) for name, of in read.tensors.items()} == {
        name: (of.dtype, of.shape) for name, of in tensors.items()
    }
    assert_same(read.tensors, tensors)


@given(at=st.integers(0, len(CONTENT) - 1), byte=st.integers(0, 255))
def test_a_byte_that_was_changed_is_refused_or_means_the_same(at, byte):
    """White space that pads the header is all that may differ."""
    content = bytearray(CONTENT)
    content[at] = byte
    if bytes(content) == CONTENT or (chr(CONTENT[at]).isspace() and chr(byte).isspace()):
        return
    with pytest.raises(Refused, match=r"the training state is (damaged|of format)"):
        TrainingState.from_bytes(bytes(content))


def test_every_flipped_bit_is_refused():
    for place in range(8 * len(CONTENT)):
        content = bytearray(CONTENT)
        content[place // 8] ^= 1 << place % 8
        with pytest.raises(Refused, match=r"the training state is (damaged|of format)"):
            TrainingState.from_bytes(bytes(content))


def test_every_truncation_is_refused():
    for length in range(len(CONTENT)):
        with pytest.raises(Refused, match="the training state is damaged"):
            TrainingState.from_bytes(CONTENT[:length])


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda tail: CONTENT + b"\0" + tail))
def test_other_bytes_are_refused(content):
    with pytest.raises(Refused, match=r"the training state in folder/state is damaged"):
        TrainingState.from_bytes(content, "in folder/state")


def forged(about: str, tensors: dict = SMALL_STATE.tensors, summed: dict = SMALL_STATE.tensors) -> bytes:
    """Such a text beside such tensors, and the checksum of it and of others."""
    return save(tensors, {KEY: f"{checksum(about, summed)} {about}"})


def about_of(**changes) -> str:
    return json.dumps({"format": 1, "epoch": 3, "facts": facts_of(), "also": {}, **changes})


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (about_of(format=2), r"is of format 2; expected 1: resume with the version"),
        (about_of(format=None), r"is of format None; expected 1"),
        (about_of(epoch=0), r"damaged \(ValueError: its epoch is 0"),
        (about_of(epoch=True), "its epoch is True"),
        (about_of(also=[1]), r"what came with it is \[1\]"),
        (about_of(also=float("nan")), "NaN is no JSON"),
        (about_of(facts={}), "its facts are"),
        (about_of(facts=3), "damaged"),
        (about_of(facts=facts_of(code="import os")), "its facts are best, code"),
        (about_of(facts=facts_of(lowest_loss=float("-inf"))), "-Infinity is no JSON"),
        (about_of(facts=facts_of(lowest_loss=10**400)), "damaged"),
        (about_of().replace('"lowest_loss": 0.5', '"lowest_loss": 1e999'), "its lowest_loss is inf"),
        (about_of(facts=facts_of(best="high")), "its best is 'high'"),
        (about_of(facts=facts_of(learning_rates=0.1)), "its learning_rates is 0.1"),
        (about_of(facts=facts_of(learning_rates=[None])), r"its learning_rates is \[None\]"),
        (about_of(facts=facts_of(lowest_epoch=-1)), "its lowest_epoch is -1"),
        (about_of(facts=facts_of(windows_at_once=[0, 1])), r"its windows_at_once is \[0, 1\]"),
        (about_of(facts=facts_of(windows_at_once=None)), "damaged"),
        (about_of(facts=facts_of(plateau={"best": 1.0})), "its plateau is"),
        (about_of(facts=facts_of(plateau={"best": 1, "optimizer": 2, "patience": 3, "mode": 4})), "its plateau is"),
        (about_of(facts=facts_of(generator={"bit_generator": "PCG64"})), "damaged"),
        (about_of(facts=facts_of(generator={"bit_generator": "os.system", "state": {}})), "damaged"),
        ("[" * 100_000, "damaged"),
        ("[1]", "damaged"),
        ("", "damaged"),
    ],
)
def test_content_of_another_shape_is_refused(about, words):
    with pytest.raises(Refused, match=words):
        TrainingState.from_bytes(forged(about))


def test_a_file_of_weights_is_no_state():
    with pytest.raises(Refused, match=r"damaged \(KeyError: '__metadata__'"):
        TrainingState.from_bytes(save(SMALL_STATE.tensors))
    with pytest.raises(Refused, match=r"damaged \(KeyError: 'training_state'"):
        TrainingState.from_bytes(save(SMALL_STATE.tensors, {"format": "pt"}))


def test_tensors_that_changed_names_are_refused():
    tensors = load(CONTENT)
    swapped = {"network.weight": tensors["step"], "step": tensors["network.weight"]}
    with pytest.raises(Refused, match="its checksum is another"):
        TrainingState.from_bytes(forged(about_of(), swapped, SMALL_STATE.tensors))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_no_json_are_not_written(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        SMALL_STATE.to_bytes({"history": [value]})


def test_facts_that_are_checked_are_those_that_are_taken(data):
    network = Network.fitting(data, TASK, "vit", SMALL["vit"])
    state = first_state(fit(network, TASK, data, Settings(batch_size=12, precision="fp32")))
    states.check_facts(state.epoch, state.facts)
