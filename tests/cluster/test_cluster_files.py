"""cluster.yaml and cluster-local.yaml: Ray takes them, every key is one that is read, and docs/cluster.md fits them."""

import configparser
import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private import providers
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
FILES = ("cluster.yaml", "cluster-local.yaml")
# What Ray's code reads of `provider`; it takes any other key in silence.
READ = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "key_pair", "security_group"}
    | {"use_internal_ips"},
    "local": {"type", "head_ip", "worker_ips", "external_head_ip"},
}


@pytest.fixture(params=FILES)
def config(request) -> dict:
    return yaml.safe_load((ROOT / request.param).read_text())


@pytest.fixture
def aws() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_up_accepts_it(config):
    validate_config(prepare_config(config))


def test_every_key_of_the_provider_is_read(config):
    assert set(config["provider"]) <= READ[config["provider"]["type"]]


def test_the_keys_that_ray_reads_are_in_its_code():
    """A key that a new version of Ray no longer knows is found here."""
    code = {"aws": ("aws", "updater.py"), "local": ("local",)}
    for provider, keys in READ.items():
        home = Path(providers.__file__).parent
        files = [path for part in code[provider] for path in (home / part).rglob("*.py") or ()]
        text = "".join(path.read_text() for path in [*files, home / "updater.py", home / "commands.py"])
        for key in keys:
            assert f'"{key}"' in text, f"{provider}: {key}"


def test_instances_are_asked_for_in_words_of_ec2(aws):
    loaders = pytest.importorskip("botocore.loaders", reason="pip install boto3")
    model = loaders.Loader().load_service_model("ec2", "service-2")
    for name, of in aws["available_node_types"].items():
        known(of["node_config"], "RunInstancesRequest", model["shapes"], name)


def known(given, shape: str, shapes: dict, where: str) -> None:
    """Compare every key, at any depth, with the description of Amazon's own library."""
    about = shapes[shape]
    if about["type"] == "structure":
        assert isinstance(given, dict), where
        for key, value in given.items():
            assert key in about["members"], f"{where}: {key}"
            known(value, about["members"][key]["shape"], shapes, f"{where}.{key}")
    elif about["type"] == "list":
        for value in given:
            known(value, about["member"]["shape"], shapes, where)
    elif "enum" in about:
        assert given in about["enum"] or shape == "InstanceType", f"{where}: {given}"


def test_the_head_trains_nothing_and_no_worker_is_paid_for_before_it_is_needed(aws):
    nodes = aws["available_node_types"]
    assert nodes[aws["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}
    assert nodes[aws["head_node_type"]]["max_workers"] == 0
    assert nodes["gpu"]["min_workers"] == 0
    assert 1 <= nodes["gpu"]["max_workers"] <= aws["max_workers"]
    assert nodes["gpu"]["resources"]["GPU"] >= 1


def test_the_images_fit_what_is_installed(aws):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    python = setup["options"]["python_requires"].removeprefix(">=").replace(".", "")
    for image in (aws["docker"]["head_image"], aws["docker"]["worker_image"]):
        assert re.fullmatch(rf"rayproject/ray:{re.escape(version('ray'))}-py{python}-(cpu|gpu)", image)


def test_no_start_command_stops_the_ray_of_others(config):
    """On AWS the commands run in a container of the cluster's own."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert any("ray start" in command for command in config[key])  # Ray's own begin with `ray stop`
        assert "docker" in config or not any("ray stop" in command for command in config[key])


def test_commands_are_shell(config):
    for key, commands in config.items():
        for command in commands if key.endswith("commands") else ():
            shlex.split(command)


def test_only_the_dashboard_of_the_head_is_reached_and_by_tunnel_alone(config):
    (head,) = (
        command for command in config["head_start_ray_commands"] if "ray start --" in command and "--head" in command
    )
    assert "--dashboard-host=127.0.0.1" in head
    assert "RAY_AUTH_MODE=token" in str(config["setup_commands"]) + str(config.get("docker"))


def test_no_secret_stands_in_a_file(config):
    text = str(config)
    assert not re.search(r"AKIA|aws_access_key|aws_secret|aws_credentials|[0-9a-f]{32}", text, re.IGNORECASE)


def test_the_guide_speaks_of_files_and_keys_that_are_there():
    guide = (ROOT / "docs" / "cluster.md").read_text()
    for name in FILES:
        assert name in guide
    for named in set(re.findall(r"`([\w-]+\.yaml|Makefile)`", guide)):
        assert (ROOT / named).is_file()
    keys = {key for name in FILES for key in re.findall(r"^ *#? *([a-z_]+):", (ROOT / name).read_text(), re.MULTILINE)}
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", guide)) <= keys


def test_the_guides_sweeps_parse():
    """Every `mirtune sweep` there is one that the command line takes."""
    import argparse

    from tuner.commands import sweep

    parser = argparse.ArgumentParser()
    sweep.add_arguments(parser)
    guide = (ROOT / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"mirtune sweep (--[^\n'`]+)", guide)
    assert lines
    for line in lines:
        parser.parse_args(shlex.split(line))
