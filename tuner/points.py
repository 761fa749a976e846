"""Known good hyperparameters for a search to begin with: from a file, or from the registered models of a corpus."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, check_known

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

Point = dict[str, Any]


def read_points(source: str, architecture: str, tracking_uri: str) -> list[Point]:
    """The points in a JSON file (an object, or a list of them), or of the best models of CORPUS[/ARCHITECTURE].

    Refused where there is neither, or the file holds something else.
    """
    if not source:
        return []
    path = Path(source)
    if not path.is_file():
        from tuner.registry import points

        if path.suffix == ".json" or path.is_absolute():
            raise Refused(
                f"--points {source}: there is no such file; expected JSON, or the name of a corpus with models"
            )
        return points(source, architecture, tracking_uri)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"--points {source} is not JSON ({error}); expected a list of objects") from error
    found = content if isinstance(content, list) else [content]
    if not found or not all(isinstance(point, dict) for point in found):
        raise Refused(f'--points {source}: expected a list of objects such as {{"hidden": 144, "layers": 3}}')
    return found


def checked(points: Sequence[Point], space: "Mapping[str, Domain]", source: str) -> list[Point]:
    """The points; Refused where one names what the space does not have, or has a value outside of it.

    What a point does not name is left to the search. A whole number may stand for a float.
    """
    for number, point in enumerate(points, 1):
        for key, value in point.items():
            check_known(f"hyperparameter in point {number} of {source}:", key, sorted(space))
            if not _fits(space[key], value):
                raise Refused(
                    f"point {number} of {source} has {key} = {value!r}; expected {_words(space[key])}: correct it or "
                    "leave it out"
                )
    return [dict(point) for point in points]


def own_points(recipe: str, space: "Mapping[str, Domain]") -> list[Point]:
    """A recipe's own values, for a search over them to begin with; none where the recipe has no space of its own."""
    from search_spaces import RECIPE_SPACES
    from search_spaces.common import OPTIMISER
    from trainables.config import RECIPES

    if not RECIPE_SPACES[recipe]:
        return []
    values = RECIPES[recipe].to_dict()
    values |= values.pop("augmentation")
    names = [name for name in (*OPTIMISER, *RECIPE_SPACES[recipe]) if name in space]
    return [{name: values[name] for name in names if _fits(space[name], values[name])}]


def _fits(domain: "Domain", value: Any) -> bool:
    from ray.tune.search.sample import Categorical

    if isinstance(domain, Categorical):
        return any(value == of and _is_of(type(of), value) for of in domain.categories)
    number_like = isinstance(value, int | float) and not isinstance(value, bool)
    return number_like and domain.lower <= value <= domain.upper  # type: ignore[attr-defined]


def _is_of(kind: type, value: Any) -> bool:
    """Whether a value is of the kind; a whole number is a float too, true and false are none."""
    return type(value) is kind or (kind is float and type(value) is int)


def _words(domain: "Domain") -> str:
    from ray.tune.search.sample import Categorical

    if isinstance(domain, Categorical):
        return f"one of {', '.join(map(str, domain.categories))}"
    return f"{domain.lower:g} to {domain.upper:g}"  # type: ignore[attr-defined]
