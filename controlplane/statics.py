"""Static files as an installation serves them: under names that change with them, compressed, and fonts with the
letters of pages alone. Made once by `collectstatic`: in the image, or when `make up` first starts.

Making all of them takes a processor some fifteen seconds. What was made of a file is kept beside the packages, by the
digest of what it was made from, so that this is once for each installation.
"""

import hashlib
import io
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import brotli
from django.contrib.staticfiles.apps import StaticFilesConfig
from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage

logger = logging.getLogger(__name__)

FONTS = frozenset(f"unfold/fonts/inter/Inter-{weight}.woff2" for weight in ("Regular", "Medium", "SemiBold"))
# Of Inter's 2,900 letters: Latin of the west, and the signs between words.
LETTERS = (
    *((0x20, 0xFF), (0x2010, 0x2044), (0x20AC, 0x20AC), (0x2122, 0x2122), (0x2190, 0x2193)),
    *((0x2212, 0x2212), (0x221E, 0x221E), (0x2248, 0x2248), (0x2260, 0x2265)),
)
# Other Latin and Greek: a font of its own, which a browser loads for a page that has one of them. The system's font
# draws all others.
RARE_LETTERS = ((0x100, 0x17F), (0x386, 0x3CE))
RARE = "-rare.woff2"
# Where the fonts are named.
FONT_STYLES = ("flotilla/css/tokens.css", "unfold/fonts/inter/styles.css")
FEATURES = ("kern", "mark", "mkmk", "ccmp", "locl", "calt", "cv05", "tnum")
_FACE = re.compile(r"@font-face \{[^}]*?\}")
# The panel's symbols: of 3,800 those whose names stand where its templates and styles draw one. Ligatures draw names.
SYMBOLS = "unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
SPELLING = "abcdefghijklmnopqrstuvwxyz0123456789_"
# Of brotli: the best, 11, takes twice as long for two percent.
QUALITY = 10
_WORD = re.compile(r"[a-z0-9_]{2,}")
_SYMBOL = re.compile(r"""material-symbols-outlined[^>]*>([^<]*)<|icon["']?\s*[=:]\s*["'](\w+)""")
_CONTENT = re.compile(r'content:\s*"(\w+)"')
KEPT = Path(sys.prefix) / "share" / "flotilla" / "made"


class Statics(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # ships no types
    """Where `collectstatic` puts things, and what makes their addresses."""

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        """Make the fonts smaller before names are made of contents."""
        added: dict[str, Any] = {}
        for name in [] if dry_run else paths:
            if name in FONTS:
                rare = with_rare(name)
                self._shrink(name, rare, added, "rare letters", partial(with_letters, letters=RARE_LETTERS))
                self._shrink(name, name, added, "letters", partial(with_letters, letters=LETTERS))
            elif name == SYMBOLS:
                words = symbols_of_the_panel()
                self._shrink(name, name, added, f"symbols {sorted(words)}", partial(with_symbols, names=words))
            elif name in FONT_STYLES:
                self._write(name, added, with_rare_faces(Path(self.path(name)).read_text()).encode())
        yield from super().post_process(paths | added, dry_run=dry_run, **options)

    def _shrink(self, name: str, to: str, added: dict[str, Any], how: str, make: Callable[[bytes], bytes]) -> None:
        whole = Path(self.path(name)).read_bytes()
        self._write(to, added, kept(how, whole, lambda: make(whole)))

    def _write(self, name: str, added: dict[str, Any], content: bytes) -> None:
        Path(self.path(name)).write_bytes(content)
        added[name] = (self, name)

    def create_compressor(self, **options: Any) -> Compressor:
        """The compressor of each file."""
        return _Compressor(**options)


class _Compressor(Compressor):  # type: ignore[misc]
    def compress_brotli(self, data: bytes) -> bytes:
        """Small, once."""
        return kept("brotli", data, lambda: brotli.compress(data, quality=QUALITY))


class StaticsConfig(StaticFilesConfig):
    """Leaves out what no page of ours refers to."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "rest_framework", "redoc"]  # noqa: RUF012


def kept(how: str, source: bytes, make: Callable[[], bytes]) -> bytes:
    """The result of `make` for `source`: read if it was made before, and kept if the folder can be written."""
    said = f"{how} {version('brotli')} {version('fonttools')} {LETTERS} {RARE_LETTERS} {FEATURES} {QUALITY}\n".encode()
    path = KEPT / hashlib.sha256(said + source).hexdigest()
    try:
        return path.read_bytes()
    except OSError:
        content = make()
    try:
        KEPT.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{hashlib.sha256(content).hexdigest()[:8]}")
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        # An installation may be read-only, or its disk full: the file is served all the same.
        logger.warning("%s is not kept and is made again the next time: %s", path, error.strerror)
    return content


def with_letters(font: bytes, letters: Collection[tuple[int, int]]) -> bytes:
    """A WOFF2 font with these ranges of letters alone."""
    return _subset(font, [letter for first, last in letters for letter in range(first, last + 1)])


def with_rare(name: str) -> str:
    """The name of the font with `RARE_LETTERS` beside one with `LETTERS`."""
    return name.replace(".woff2", RARE)


def with_rare_faces(styles: str) -> str:
    """CSS in which each face of a font of ours has a second for `RARE_LETTERS`, which browsers load when needed."""
    ranges = ", ".join(f"U+{first:X}-{last:X}" for first, last in RARE_LETTERS)

    def both(face: re.Match[str]) -> str:
        return f"{face[0]}\n{with_rare(face[0])[:-1]}unicode-range: {ranges}; }}"

    return _FACE.sub(both, styles)


def symbols_of_the_panel() -> frozenset[str]:
    """Every word that stands where unfold's code draws a symbol: the names of those that it shows are among them."""
    package = Path(import_module("unfold").__file__ or "").parent
    words: set[str] = set()
    for kind, drawn in (("html", _SYMBOL), ("py", _SYMBOL), ("css", _CONTENT)):
        for path in package.rglob(f"*.{kind}"):
            places = (place[place.lastindex or 0] for place in drawn.finditer(path.read_text(errors="ignore")))
            words.update(word for place in places for word in _WORD.findall(place))
    return frozenset(words)


def with_symbols(font: bytes, names: Collection[str]) -> bytes:
    """A WOFF2 font of symbols with those of these names alone."""
    return _subset(font, [ord(letter) for letter in SPELLING], names)


def _subset(font: bytes, letters: list[int], names: Collection[str] | None = None) -> bytes:
    from fontTools import subset  # half a second, and wanted by nobody else

    # Symbols are drawn by ligatures, which the package keeps by itself.
    features = {"layout_features": [*FEATURES]} if names is None else {}
    options = subset.Options(flavor="woff2", hinting=False, **features)
    options.drop_tables = [*options.drop_tables, "FFTM"]
    loaded = subset.load_font(io.BytesIO(font), options)
    if names is not None:
        _keep_ligatures(loaded, names)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=letters)
    subsetter.subset(loaded)
    file = io.BytesIO()
    subset.save_font(loaded, file, options)
    return file.getvalue()


def _keep_ligatures(font: Any, names: Collection[str]) -> None:
    """Drop the ligatures that spell none of these names; what they draw goes with them."""
    letter_of = {glyph: chr(code).lower() for code, glyph in font.getBestCmap().items()}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in (getattr(each, "ExtSubTable", each) for each in lookup.SubTable):
            wanted = {
                first: [one for one in ligatures if "".join(letter_of[g] for g in (first, *one.Component)) in names]
                for first, ligatures in getattr(table, "ligatures", {}).items()
            }
            table.ligatures = {first: ligatures for first, ligatures in wanted.items() if ligatures}
