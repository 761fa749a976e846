"""cluster.yaml is one that `ray up` takes."""

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[1] / "cluster.yaml"


def test_ray_up_accepts_the_cluster():
    validate_config(prepare_config(yaml.safe_load(CLUSTER.read_text())))


def test_a_sweep_finds_a_worker_and_the_head_trains_nothing():
    config = yaml.safe_load(CLUSTER.read_text())
    nodes = config["available_node_types"]
    assert nodes[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert 1 <= nodes["gpu"]["min_workers"] <= nodes["gpu"]["max_workers"] <= config["max_workers"]
    assert nodes["gpu"]["resources"]["GPU"] >= 1
