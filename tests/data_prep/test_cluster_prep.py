"""The preparation on a Ray cluster of several nodes, which it joins and leaves as it was."""

import os
import subprocess
import sys

import pytest
import ray
from ray.cluster_utils import Cluster

from data_prep.shards import Corpus


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, of one processor each."""
    ray.shutdown()  # a Ray of this process would give the cluster its own address, which is loopback only
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def test_any_cluster_gives_the_same_files(cluster, shards, mdb_folder, tmp_path):
    command = [sys.executable, "-m", "tuner.cli", "prep", "mdb", "--source", mdb_folder, "--shards", tmp_path]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = Corpus.open(tmp_path / "mdb", verify=True).manifest
    assert manifest.files == Corpus.open(shards / "mdb").manifest.files
    assert len(cluster.list_all_nodes()) == 2
