"""Which packages are installed."""

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """Installed version of a package, or "unknown"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
