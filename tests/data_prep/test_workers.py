"""Work on many things at once: what happens where it fails, and where workers die."""

import re
import subprocess
import sys

import pytest

from data_prep.refused import Refused
from data_prep.workers import run_on_workers
from tuner.cluster import ray_running


def worker():
    """A function that travels to the workers itself, as they cannot import this module."""

    def work(number):
        if number == 4:
            raise Refused("four is no number")
        return -number

    return work


@pytest.fixture(scope="module", autouse=True)
def ray():
    with ray_running():
        yield


def test_all_is_done_and_a_refusal_is_that_of_the_worker():
    assert dict(run_on_workers(worker(), [0, 1, 3], 2)) == {0: 0, 1: -1, 3: -3}
    with pytest.raises(Refused, match="four is no number"):
        list(run_on_workers(worker(), [0, 4], 2))


DYING = """
import os, signal
from data_prep.refused import Refused
from data_prep.workers import run_on_workers
def work(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number
try:
    list(run_on_workers(work, [0, 2], 2, name="item {}".format))
except Refused as refused:
    print(refused)
"""


def test_workers_that_die_one_after_the_other():
    """In a process of its own: Ray has much to say of it on standard error."""
    done = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True, check=True)
    said = r"Ray lost its workers over item 2 \(.+\); memory may have run out.*run the same command again"
    assert re.search(said, done.stdout), done.stderr
