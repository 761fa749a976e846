"""Peaks, matching and rates: golden counts, plain loops, mir_eval, scipy's matching; what the host waits for."""

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.metrics import TOLERANCE_FRAMES, Rates, count_hits, join_tracks, macro_f1, micro
from trainables.peaks import OnsetFrames, PeakRule, find_peaks, pick_peaks
from trainables.tasks import find_task

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")


def marks_of(frames, length):
    marks = torch.zeros(1, length, 1, dtype=torch.bool)
    marks[0, sorted(frames), 0] = True
    return marks


def plain_peaks(activations: np.ndarray, rule: PeakRule) -> np.ndarray:
    """The rule, one frame at a time."""
    peaks = np.zeros(activations.shape, bool)
    batch, frames, classes = activations.shape
    for b in range(batch):
        for k in range(classes):
            last = -1
            padded = np.pad(activations[b, :, k], rule.around_frames)
            for t in range(frames):
                around = padded[t : t + 2 * rule.around_frames + 1]
                value = activations[b, t, k]
                if (
                    value == around.max()
                    and value >= around.mean() + rule.delta
                    and value >= rule.threshold
                    and t - last > rule.apart_frames
                ):
                    peaks[b, t, k], last = True, t
    return peaks


def matched_pairs(estimated: np.ndarray, reference: np.ndarray, tolerance: int) -> int:
    """Of two rows (T,) of marks, by Hopcroft and Karp's algorithm on the graph of all pairs within the tolerance."""
    apart = np.subtract.outer(estimated.nonzero()[0], reference.nonzero()[0])
    return int((maximum_bipartite_matching(csr_array(abs(apart) <= tolerance)) >= 0).sum()) if apart.size else 0


def expected_counts(estimated: np.ndarray, reference: np.ndarray, tolerance: int) -> np.ndarray:
    """(B, T, K) marks twice -> (B, K, 3), each row's graph by itself."""
    pairs = np.array(
        [
            [matched_pairs(*rows, tolerance) for rows in zip(mine.T, theirs.T, strict=True)]
            for mine, theirs in zip(estimated, reference, strict=True)
        ]
    )
    return np.stack((pairs, estimated.sum(axis=1) - pairs, reference.sum(axis=1) - pairs), axis=2)


@pytest.mark.parametrize("device", DEVICES)
def test_peaks_are_the_golden_ones(golden, device):
    numbers = golden("peaks_and_counts")
    peaks = find_peaks(torch.from_numpy(numbers["activations"]).to(device), PeakRule(threshold=0.0))
    np.testing.assert_array_equal(peaks.cpu(), numbers["peaks"])


@pytest.mark.parametrize("device", DEVICES)
def test_counts_and_scores_are_the_golden_ones(golden, device):
    numbers = golden("peaks_and_counts")
    peaks = pick_peaks(torch.from_numpy(numbers["activations"]).to(device), PeakRule())
    reference = torch.from_numpy(numbers["targets"]).to(device) > 0.5
    counts = count_hits(peaks, reference).sum(dim=0).cpu().numpy()
    np.testing.assert_array_equal(counts, numbers["counts"])
    np.testing.assert_array_equal(count_hits(peaks.marks(), reference).sum(dim=0).cpu(), counts)
    assert micro(counts).f1 == pytest.approx(float(numbers["micro_f1"]), abs=1e-6)
    assert macro_f1(counts) == pytest.approx(float(numbers["macro_f1"]), abs=1e-6)
    assert [Rates.of(row).f1 for row in counts] == pytest.approx(numbers["class_f1"].tolist(), abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_task_scores_tracks_on_one_line_as_each_by_itself(golden, device):
    numbers = golden("peaks_and_counts")
    tracks = [  # of different lengths, with onsets in their first and last frames
        [
            torch.from_numpy(of[first : first + size].reshape(-1, 5))
            for of in (numbers["activations"], numbers["targets"])
        ]
        for first, size in ((0, 1), (1, 4), (5, 19))
    ]
    counts = np.zeros((5, 3))
    for activations, targets in tracks:
        peaks = plain_peaks(join_tracks([activations]).numpy(), PeakRule())
        counts += expected_counts(peaks, join_tracks([targets]).numpy() == 1, TOLERANCE_FRAMES)[0]
    activations, targets = (join_tracks(list(of))[0].to(device) for of in zip(*tracks, strict=True))
    with torch.inference_mode():  # as the loop does
        scores = find_task("drum_onsets").score(activations, (2 * targets).byte(), CLASSES)
    hits, alarms, misses = counts.sum(axis=0)
    assert (scores["precision"], scores["recall"]) == pytest.approx((hits / (hits + alarms), hits / (hits + misses)))
    assert scores["micro_f1"] == pytest.approx(2 * hits / (2 * hits + alarms + misses))
    f1s = 2 * counts[:, 0] / (2 * counts[:, 0] + counts[:, 1] + counts[:, 2])
    assert [scores[f"f1_{name}"] for name in CLASSES] == pytest.approx(f1s.tolist())
    assert scores["macro_f1"] == pytest.approx(f1s.mean())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([2, 3, 8, 50]),
    st.floats(0, 0.9),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_peaks_are_those_of_a_plain_loop(seed, frames, levels, threshold, around_frames, apart_frames):
    # few levels make plateaus and ties
    activations = np.random.default_rng(seed).integers(0, levels, (2, frames, 3)).astype(np.float32) / (levels - 1)
    # no value sits on the edge, where rounding decides
    rule = PeakRule(threshold=threshold, delta=0.1001, around_frames=around_frames, apart_frames=apart_frames)
    np.testing.assert_array_equal(find_peaks(torch.from_numpy(activations), rule), plain_peaks(activations, rule))


@pytest.mark.parametrize("every", [2, 3, 4])
@pytest.mark.parametrize("apart_frames", [2, 5])
def test_equal_peaks_side_by_side_are_thinned_over_thousands_of_frames(every, apart_frames):
    activations = np.zeros((1, 3001, 2), np.float32)
    activations[0, 1::every, 0] = 0.75
    activations[0, 700:2900:every, 1] = 0.75
    activations[0, [1200, 1201, 2001], 1] = 0  # the chain is broken twice and goes on in another phase
    rule = PeakRule(apart_frames=apart_frames)
    line = torch.from_numpy(activations).bfloat16()
    np.testing.assert_array_equal(find_peaks(line, rule), plain_peaks(activations, rule))


def test_marks_and_lists_of_onsets_hold_the_same():
    marks = torch.rand(3, 17, 4, generator=torch.Generator().manual_seed(0)) < 0.3
    onsets = OnsetFrames.of(marks)
    assert torch.equal(onsets.marks(), marks)
    batch, of, frames = marks.transpose(1, 2).nonzero(as_tuple=True)
    assert torch.equal(onsets.places, (batch * 4 + of) * 17 + frames)
    assert torch.equal(onsets.places, onsets.places.unique())  # ascending, each once


frames_drawn = st.sets(st.integers(0, 119), max_size=40)


@settings(max_examples=200, deadline=None)
@given(frames_drawn, frames_drawn, st.integers(0, 9))
def test_matching_is_the_largest_as_mir_eval_finds_it(estimated, reference, tolerance):
    counts = count_hits(marks_of(estimated, 120), marks_of(reference, 120), tolerance)[0, 0].tolist()
    pairs = (
        mir_eval.util.match_events(sorted(reference), sorted(estimated), tolerance) if estimated and reference else []
    )
    assert counts == [len(pairs), len(estimated) - len(pairs), len(reference) - len(pairs)]


densities = st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 3), st.integers(0, 60), st.integers(1, 4)),
    st.lists(densities, min_size=4, max_size=4),
    st.lists(densities, min_size=4, max_size=4),
    st.integers(0, 9),
)
@example(0, (1, 60, 1), [1.0] * 4, [1.0] * 4, TOLERANCE_FRAMES)
@example(0, (2, 60, 4), [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], TOLERANCE_FRAMES)
@example(0, (3, 0, 2), [0.0] * 4, [0.0] * 4, TOLERANCE_FRAMES)
def test_every_row_is_matched_by_itself_as_a_graph_is(seed, shape, estimated_density, reference_density, tolerance):
    generator = np.random.default_rng(seed)
    estimated = generator.random(shape) < np.array(estimated_density)[: shape[2]]  # each class its own density
    reference = generator.random(shape) < np.array(reference_density)[: shape[2]]
    counts = count_hits(torch.from_numpy(estimated), torch.from_numpy(reference), tolerance)
    np.testing.assert_array_equal(counts, expected_counts(estimated, reference, tolerance))


@pytest.mark.parametrize(("every", "other"), [(3, 4), (4, 3), (3, 3), (1, 2), (5, 6), (6, 5)])
def test_runs_thousands_of_onsets_long_are_matched_as_a_graph_is(every, other):
    estimated, reference = np.zeros((2, 1, 6000, 2), bool)
    estimated[0, ::every, 0], reference[0, 2::other, 0] = True, True
    estimated[0, :3000, 1], reference[0, 2990:, 1] = True, True  # side by side: a few at the seam
    counts = count_hits(torch.from_numpy(estimated), torch.from_numpy(reference))
    np.testing.assert_array_equal(counts, expected_counts(estimated, reference, TOLERANCE_FRAMES))


@given(frames_drawn)
def test_a_perfect_estimate_is_all_hits(frames):
    marks = marks_of(frames, 120)
    assert count_hits(marks, marks)[0, 0].tolist() == [len(frames), 0, 0]


def test_an_onset_in_the_first_frame_of_a_track_can_be_found():
    line = join_tracks([torch.tensor([[0.9], [0.1], [0.1]]), torch.tensor([[0.8], [0.1], [0.1]])])
    assert line.shape == (1, 10 + 3 + 10 + 3 + 10, 1)
    assert find_peaks(line, PeakRule())[0, :, 0].nonzero().squeeze(1).tolist() == [10, 23]


def test_rates():
    counts = np.array([[8, 2, 2], [0, 0, 0], [0, 3, 0]])
    assert micro(counts) == Rates(f1=16 / 23, precision=8 / 13, recall=0.8)
    assert macro_f1(counts) == pytest.approx((0.8 + 0.0) / 2)  # the second class is in neither
    assert micro(np.zeros((5, 3))) == Rates(0.0, 0.0, 0.0)
    assert macro_f1(np.zeros((5, 3))) == 0.0


class Watch(TorchDispatchMode):
    """Notes the operations within, and how often the host has to wait for one of them on a GPU.

    An operation that is neither known to run beside the host nor known to hold it up stops the test.
    """

    WAITS = ("nonzero", "_local_scalar_dense")
    RUNS_ON = (
        "_to_copy", "_unsafe_view", "add", "add_", "amin", "arange", "binary_cross_entropy_with_logits", "bitwise_and",
        "bitwise_and_", "bitwise_not", "bitwise_or_", "cat", "clamp", "clone", "copy_", "cumsum_", "detach", "div",
        "empty_like", "eq", "expand", "fill_", "gather", "ge", "gt", "index_copy_", "index_select", "le", "lt",
        "maximum", "mean", "minimum", "mul", "mv", "ones_like", "repeat", "searchsorted",
        "select", "sigmoid", "slice", "squeeze", "stack", "sub", "sum", "transpose", "unsqueeze", "view", "zeros",
        "zeros_like",
    )  # fmt: skip

    def __init__(self):
        super().__init__()
        self.waits, self.operations = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name in self.WAITS + self.RUNS_ON, f"does {func} hold the host up?"
        if name in ("_to_copy", "copy_"):  # casts, not moves
            assert {of.device for of in args[:2]} | {(kwargs or {}).get("device", args[0].device)} == {args[0].device}
        self.operations += 1
        self.waits += name in self.WAITS
        return func(*args, **(kwargs or {}))


class Transfers(TorchFunctionMode):
    """Notes what is asked back from the device, by the shape of what comes."""

    ASKS = ("cpu", "to", "tolist", "item", "__bool__", "__int__", "__float__", "__index__", "__array__")

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in self.ASKS:
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def lines_to_score(tracks, frames, every):
    """Peaks every few frames of every class, equal ones among them; onsets every fifth frame."""
    generator = torch.Generator().manual_seed(0)
    activations = [torch.rand(frames, 5, generator=generator) * 0.1 for _ in range(tracks)]
    halves = [torch.zeros(frames, 5, dtype=torch.uint8) for _ in range(tracks)]
    for activation, half in zip(activations, halves, strict=True):
        activation[::every] = 0.9
        half[::5] = 2
    return join_tracks(activations)[0], join_tracks(halves)[0]


def watched_score(tracks, frames, every):
    lines = lines_to_score(tracks, frames, every)
    # whatever is made without naming the lines' device lands on another one and fails
    with torch.no_grad(), torch.device("meta"), Transfers() as transfers, Watch() as watch:
        find_task("drum_onsets").score(*lines, CLASSES)
    return watch, transfers


@pytest.mark.parametrize("every", [2, 3, 50])
def test_what_the_host_waits_for_does_not_grow(every):
    small, transfers = watched_score(2, 200, every)
    assert transfers.shapes == [(5, 3)]
    assert small.waits <= 5
    for tracks, frames in ((50, 200), (2, 5000)):
        large, transfers = watched_score(tracks, frames, every)
        assert transfers.shapes == [(5, 3)]
        assert large.waits == small.waits
        # 25 times the onsets: five more rounds of doubling, of a few operations each
        assert large.operations <= small.operations + 5 * 25


def test_the_loss_waits_for_nothing_and_names_its_devices():
    task = find_task("drum_onsets")
    stored = torch.randint(0, 3, (2, 30, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    logits = torch.zeros(2, 30, 5, dtype=torch.bfloat16, requires_grad=True)
    weights = torch.tensor([9.0, 20.0, 60.0, 8.0, 30.0])
    with torch.device("meta"), Transfers() as transfers, Watch() as watch:
        task.loss(logits, task.decode(stored), weights).backward()
    assert (transfers.shapes, watch.waits) == ([], 0)
