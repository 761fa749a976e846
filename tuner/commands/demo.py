"""`mirtune demo`."""

import argparse

SUMMARY = "the whole chain on grooves that mirtune generates and renders itself"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none."""


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration."""
    from tuner.demo import demo

    demo()
