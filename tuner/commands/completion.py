"""`mirtune completion`."""

import argparse

SUMMARY = "print a script that lets a shell complete mirtune's commands, options and names"
EXAMPLES = (
    (
        "bash, from the next shell on",
        "mkdir -p ~/.local/share/bash-completion/completions && "
        "mirtune completion bash > ~/.local/share/bash-completion/completions/mirtune",
    ),
    (
        "zsh, from the next shell on, where ~/.zfunc is in $fpath",
        "mkdir -p ~/.zfunc && mirtune completion zsh > ~/.zfunc/_mirtune",
    ),
    (
        "fish",
        "mkdir -p ~/.config/fish/completions && mirtune completion fish > ~/.config/fish/completions/mirtune.fish",
    ),
)
SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    from tuner.cli import parser
    from tuner.completion import script

    print(script(parser(), arguments.shell))
