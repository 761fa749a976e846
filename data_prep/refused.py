"""The one exception that speaks to the user."""


class Refused(ValueError):
    """Input that mirtune will not work on.

    Its text is one sentence: what came, what was expected, where, and what to do. The command line prints it and
    exits with status 2.
    """
