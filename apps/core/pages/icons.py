"""The drawings of lucide's icons, as pages hold them inline."""

import functools
import io
from importlib import resources
from xml.etree import ElementTree
from zipfile import ZipFile

_SVG = "{http://www.w3.org/2000/svg}"


@functools.cache
def _archive() -> ZipFile:
    # Opened once: the package itself reads the list of all its 1,700 icons anew for each, which takes 10 ms.
    return ZipFile(io.BytesIO(resources.files("lucide").joinpath("lucide.zip").read_bytes()))


@functools.cache
def drawing(name: str) -> str:
    """What is inside the <svg> of an icon, of 24 by 24. Raises KeyError for a name that lucide does not know."""
    svg = ElementTree.fromstring(_archive().read(f"{name}.svg"))  # noqa: S314 - of the package, nobody else's
    for part in svg.iter():
        part.tag = part.tag.removeprefix(_SVG)
    return "".join(ElementTree.tostring(child, encoding="unicode").strip() for child in svg)
