"""One colour for each class, the same in every picture."""

from collections.abc import Sequence

# Okabe and Ito's colours, told apart by the colour-blind, too; a class has the same one in every vocabulary.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#C9B800", "#555555")
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW, GREY = OKABE_ITO
COLOURS = {
    **{"kick": BLUE, "snare": VERMILION, "toms": GREEN, "hi-hat": ORANGE, "cymbals": PURPLE},
    **{"crash": PURPLE, "ride": SKY, "bell": GREY, "claves": YELLOW},
}


def colours_of(classes: Sequence[str]) -> list[str]:
    """A colour a class."""
    return [COLOURS.get(name, OKABE_ITO[index % len(OKABE_ITO)]) for index, name in enumerate(classes)]
