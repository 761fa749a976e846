"""What a search may choose of a recipe, beside the architecture's own space: each thing off, or one of some values."""

from collections.abc import Mapping

from ray import tune
from ray.tune.search.sample import Domain

RECIPE_SPACES: dict[str, Mapping[str, Domain]] = {
    "study": {},
    "mirtune": {
        "weight_scale": tune.loguniform(0.03, 1.0),
        "weigh": tune.choice(["frames", "classes"]),
        "standardise": tune.choice(["all", "bands"]),
        "average_decay": tune.choice([0.0, 0.99, 0.999]),
        "shift_frames": tune.choice([0, 1]),
        "level": tune.choice(["as_recorded", "window", "whitened"]),
        "class_gain_db": tune.choice([0.0, 4.0, 8.0, 12.0]),
        "class_equaliser_db": tune.choice([0.0, 6.0, 12.0]),
        "class_pitch_semitones": tune.choice([0.0, 1.0, 2.0]),
        "gain_db": tune.choice([0.0, 6.0, 12.0]),
        "equaliser_db": tune.choice([0.0, 6.0, 12.0]),
        "music_share": tune.choice([0.0, 0.5, 0.75, 1.0]),
        "ring_share": tune.choice([0.0, 0.5]),
        "room_share": tune.choice([0.0, 0.5]),
        "compression_share": tune.choice([0.0, 0.5]),
        "pitch_semitones": tune.choice([0.0, 1.0, 2.0]),
        "stretch": tune.choice([0.0, 0.1]),
        "noise_share": tune.choice([0.0, 0.3]),
        "bleed_share": tune.choice([0.0, 0.05]),
        "silence_share": tune.choice([0.0, 0.02]),
        "audible_rise": tune.choice([0.0, 0.1, 0.3]),
    },
}
