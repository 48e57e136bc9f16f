"""The colour of a run: the same in every chart and table, whatever other runs are drawn beside it. Pure.

Hues go round by the golden angle, so that runs made one after the other differ most. They are chosen in OKLCH, where
one lightness is equally strong in every hue, and holds against a white and a black ground.
"""

import functools
import math

_GOLDEN = 137.50776
# Runs whose hues come near each other again differ in these.
_LIGHT = (0.58, 0.63, 0.53)
_CHROMA = 0.145


@functools.lru_cache(maxsize=4096)
def colour_of(number: int) -> str:
    """The colour of the run of this primary key, as `#rrggbb`."""
    hue = math.radians(number * _GOLDEN % 360)
    return _hexadecimal(_LIGHT[number % len(_LIGHT)], _CHROMA * math.cos(hue), _CHROMA * math.sin(hue))


def _hexadecimal(light: float, green_red: float, blue_yellow: float) -> str:
    long = (light + 0.3963377774 * green_red + 0.2158037573 * blue_yellow) ** 3
    medium = (light - 0.1055613458 * green_red - 0.0638541728 * blue_yellow) ** 3
    short = (light - 0.0894841775 * green_red - 1.2914855480 * blue_yellow) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _shown(part)):02x}" for part in linear)


def _shown(part: float) -> float:
    part = min(1.0, max(0.0, part))
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
