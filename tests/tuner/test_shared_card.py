"""The model card of a checkpoint that is handed on."""

from test_default_checkpoint import CLASSES, untrained

from tuner.card import Source, shared_card

SCORE = {
    "corpus": "songs", "split": "test", "tracks": 9, "micro_f1": 0.8766, "macro_f1": 0.7, "interval": [0.81, 0.92],
    "classes": {name: {"f1": 0.5 + number / 10, "onsets": 3 * number} for number, name in enumerate(CLASSES)},
}  # fmt: skip


def test_a_card_says_how_good_it_is_and_whom_to_credit():
    sources = [Source("Groove", "performances", "CC BY 4.0", "Gillick and others, 2019"), Source("A|B", "kit", "CC0")]
    card = shared_card(
        untrained(), [SCORE, {**SCORE, "corpus": "one", "interval": None}], sources,
        title="Listener", made_by="mirtune sweep", limits=["Never heard brushes.", "Thinks claps are snares."],
    )  # fmt: skip
    lines = card.splitlines()
    assert lines[0] == "# Listener"
    assert "| songs | test | 9 | 0.877 | 0.810 to 0.920 | 0.700 |  | 0.600 | 0.700 | 0.800 | 0.900 |" in lines
    assert "| one | test | 9 | 0.877 |  | 0.700 |  | 0.600 | 0.700 | 0.800 | 0.900 |" in lines
    assert "| Groove | performances | CC BY 4.0 | Gillick and others, 2019 |" in lines
    assert r"| A\|B | kit | CC0 |  |" in lines
    assert "- Thinks claps are snares." in lines
    assert "    mirtune sweep" in lines
    assert "`vit` (patch_bands 21, heads 2, layers 1, width 24)" in card
    assert "Thresholds: kick 0.5, snare 0.5" in card
    assert len({line.count(" | ") for line in lines if line.startswith("| songs") or line.startswith("| corpus")}) == 1
