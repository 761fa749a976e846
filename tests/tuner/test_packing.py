"""How many trials share a GPU: made-up devices, corpora and clusters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.storage import Storage
from search_spaces import SPACES
from trainables.cost import cost_of
from trainables.placement import CONTEXT_BYTES, FOR_FRAMES
from tuner import packing
from tuner.options import SweepOptions
from tuner.packing import GIB, MOST_ON_A_GPU, SLACK, Packing, default_share, largest, network_bytes, pack, packing_of
from tuner.plan import Plan

H200 = 139 * GIB
E_GMD = 27 * 10**9  # bytes of its frames
ASKED = {"gpus": 1.0, "cpus": 16.0, "cpus_per_trial": 1, "trials": 20}


def default(device_bytes, corpus_bytes, net_bytes, **changed):
    return default_share(
        device_bytes=device_bytes, corpus_bytes=corpus_bytes, network_bytes=net_bytes, **(ASKED | changed)
    )


@pytest.mark.parametrize(
    ("device_bytes", "corpus_bytes", "net_bytes", "changed", "gpus"),
    [
        (H200, E_GMD, 4 * GIB, {}, 0.25),
        (H200, E_GMD, 13 * GIB, {}, 0.3333),  # 26.1 GiB of frames and 20.5 of network: three times
        (H200, E_GMD, 80 * GIB, {}, 1.0),  # the memory guard's matter
        (H200, 60 * 10**9, 4 * GIB, {}, 1.0),  # four fifths of a half are less than the frames
        (H200, 54 * 10**9, 4 * GIB, {}, 0.5),
        (H200, 400 * 10**9, 4 * GIB, {}, 0.25),  # streamed by one trial or by four
        (24 * GIB, E_GMD, 4 * GIB, {}, 0.3333),
        (11 * GIB, 10**9, GIB // 2, {}, 0.25),
        (H200, 10**9, GIB, {"cpus": 2.0}, 0.5),
        (H200, 10**9, GIB, {"cpus": 8.0, "cpus_per_trial": 4}, 0.5),
        (H200, 10**9, GIB, {"gpus": 8.0, "cpus": 16.0}, 0.5),
        (H200, 10**9, GIB, {"trials": 2}, 0.5),
        (H200, 10**9, GIB, {"trials": 1}, 1.0),
        (H200, 10**9, GIB, {"gpus": 0.0}, 0.0),
        (None, 10**9, GIB, {}, 1.0),
        (H200, 10**9, None, {}, 1.0),
    ],
)
def test_as_many_as_memory_and_processors_allow(device_bytes, corpus_bytes, net_bytes, changed, gpus):
    assert default(device_bytes, corpus_bytes, net_bytes, **changed)[0] == gpus


def test_the_reason_is_told_in_gib():
    assert default(H200, E_GMD, 4 * GIB)[1] == "32.1 of 139 GiB each"
    assert default(24 * GIB, E_GMD, 4 * GIB)[1] == "7.0 of 24 GiB each, the corpus streamed"
    assert default(None, E_GMD, 4 * GIB)[1] == "the sizes of GPU and network are unknown"


@given(
    device_bytes=st.integers(1, 400 * GIB),
    corpus_bytes=st.integers(1, 400 * GIB),
    net_bytes=st.integers(1, 200 * GIB),
    gpus=st.integers(1, 16),
    cpus=st.integers(1, 256),
    cpus_per_trial=st.integers(1, 8),
    trials=st.integers(1, 100),
)
def test_never_above_what_there_is(device_bytes, corpus_bytes, net_bytes, gpus, cpus, cpus_per_trial, trials):
    there = {"gpus": float(gpus), "cpus": float(cpus), "cpus_per_trial": cpus_per_trial, "trials": trials}
    share, _ = default(device_bytes, corpus_bytes, net_bytes, **there)
    together = int(1 / share)
    assert 1 <= together <= MOST_ON_A_GPU
    assert together * share <= 1
    if together > 1:
        resident = corpus_bytes <= FOR_FRAMES * device_bytes
        held = CONTEXT_BYTES + SLACK * net_bytes + (corpus_bytes if resident else 0)
        assert together * held <= device_bytes
        # placement's own rule: no trial of several streams what a trial alone would keep on the GPU
        assert not resident or corpus_bytes <= FOR_FRAMES * device_bytes / together
        assert together * gpus * cpus_per_trial <= cpus
        assert (together - 1) * gpus < trials
    if cpus >= cpus_per_trial:
        options = SweepOptions(("x",), "rnn", trials=trials, cpus_per_trial=cpus_per_trial)
        packed = pack(options, {"CPU": float(cpus), "GPU": float(gpus)}, (share, ""))
        assert 1 <= packed.at_once <= min(trials, together * gpus)
        assert packed.at_once * cpus_per_trial <= cpus


def test_trials_share_the_cluster():
    options = SweepOptions(("x",), "rnn", trials=8)
    assert pack(options, {"CPU": 2.0}, (0.0, "")) == Packing(0.0, 2)
    assert pack(options, {"CPU": 16.0, "GPU": 2.0}, (1.0, "why")) == Packing(1.0, 2, "why")
    quarter = replace(options, gpus_per_trial=0.25)
    assert pack(quarter, {"CPU": 16.0, "GPU": 1.0}, (1.0, "why")) == Packing(0.25, 4)
    assert pack(quarter, {"CPU": 3.0, "GPU": 1.0}, (1.0, "")).at_once == 3
    assert pack(replace(options, gpus_per_trial=0.1), {"CPU": 16.0, "GPU": 1.0}, (1.0, "")).at_once == 8
    assert pack(replace(options, gpus_per_trial=0.4), {"CPU": 16.0, "GPU": 2.0}, (1.0, "")).at_once == 4
    assert pack(replace(options, trials=1), {"CPU": 16.0}, (0.0, "")).at_once == 1


def test_a_share_is_of_memory():
    assert [Packing(gpus, 1).share for gpus in (0.0, 0.25, 1.0, 2.0)] == [1.0, 0.25, 1.0, 1.0]


def test_the_largest_network_of_a_space_decides():
    sizes = {"bands": 84, "classes": 5, "windows": 8, "task": "drum_onsets"}
    of = {"layers": 6, "hidden": 576}
    costs = [
        cost_of("rnn", {**of, "unit": unit}, bands=84, classes=5, windows=8).training_bytes for unit in ("gru", "lstm")
    ]
    assert network_bytes("rnn", SPACES["rnn"], **sizes) == max(costs)


def test_narrowed_spaces_and_values_that_do_not_go_together_are_respected(shards):
    from tuner.plan import _space

    sizes = {"bands": 84, "classes": 5, "windows": 8, "task": "drum_onsets"}
    small = {"patch_bands": (21,), "layers": (1,), "width": (24,)}
    space = _space(dict(SPACES["vit"]), {**small, "heads": (2, 7)})  # 7 heads do not divide 24
    built = cost_of("vit", {"patch_bands": 21, "layers": 1, "width": 24, "heads": 2}, bands=84, classes=5, windows=8)
    assert network_bytes("vit", space, **sizes) == built.training_bytes
    assert network_bytes("vit", _space(dict(SPACES["vit"]), {**small, "heads": (7,)}), **sizes) is None


@pytest.mark.parametrize("architecture", SPACES)
def test_the_largest_comes_first(architecture):
    found = [next(configurations) for configurations in largest(SPACES[architecture])]
    assert len(found) == (2 if "unit" in SPACES[architecture] else 1)
    for configuration in found:
        assert configuration["layers"] == {"rnn": 6, "crnn": 5, "cnn": 4}.get(architecture, 10)
        assert "learning_rate" not in configuration


@pytest.fixture
def plan():
    return Plan("s", Storage.at("s"), dict(SPACES["cnn"]), [], {}, (), bands=84, classes=5, frame_bytes=10**9)


def test_a_node_is_asked_for_its_memory(monkeypatch, plan):
    monkeypatch.setattr(packing, "ask_device_bytes", lambda: lambda: 139 * GIB)
    options = SweepOptions(("x",), "cnn", trials=20)
    packed, batch = packing_of(options, plan, {"CPU": 16.0, "GPU": 1.0})
    assert (packed.gpus, packed.at_once, batch) == (0.25, 4, 128)
    assert packed.why.endswith(" of 139 GiB each")


def test_a_node_that_does_not_answer_gives_whole_gpus_and_is_told(monkeypatch, plan, capsys):
    def broken():
        raise RuntimeError("no CUDA here\nat all")

    monkeypatch.setattr(packing, "ask_device_bytes", lambda: broken)
    options = SweepOptions(("x",), "cnn", trials=20)
    packed, _ = packing_of(options, plan, {"CPU": 16.0, "GPU": 2.0})
    assert (packed.gpus, packed.at_once) == (1.0, 2)
    assert (
        "no node says how much memory its GPU has (RuntimeError: no CUDA here); each trial" in capsys.readouterr().err
    )


def test_a_question_that_no_node_can_take_ends(ray, monkeypatch):
    """This Ray has no GPU at all."""
    monkeypatch.setattr(packing, "PATIENCE_S", 0.2)
    import ray as running

    with pytest.raises(running.exceptions.GetTimeoutError, match="timed out"):
        packing.ask_device_bytes()()
