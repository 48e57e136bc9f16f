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
# Of Inter's 2,900 letters: Latin, Greek, and the signs between words. The system's font draws all others.
LETTERS = (
    *((0x20, 0x17F), (0x386, 0x3CE), (0x2010, 0x2044), (0x20AC, 0x20AC), (0x2122, 0x2122), (0x2190, 0x2193)),
    *((0x2212, 0x2212), (0x221E, 0x221E), (0x2248, 0x2248), (0x2260, 0x2265)),
)
FEATURES = ("cv05", "tnum")
# The panel's symbols: of 3,800 those whose names stand somewhere in the code that draws it. Ligatures draw the names.
SYMBOLS = "unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
SPELLING = "abcdefghijklmnopqrstuvwxyz0123456789_"
# Of brotli: the best, 11, takes twice as long for two percent.
QUALITY = 10
_WORD = re.compile(r"[a-z0-9_]{2,}")
KEPT = Path(sys.prefix) / "share" / "flotilla" / "made"


class Statics(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # ships no types
    """Where `collectstatic` puts things, and what makes their addresses."""

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        """Make the fonts smaller before names are made of contents."""
        for name in [] if dry_run else paths:
            if name in FONTS:
                self._shrink(name, paths, "font", with_letters_of_pages)
            elif name == SYMBOLS:
                words = words_of_the_panel()
                self._shrink(name, paths, f"symbols {sorted(words)}", partial(with_symbols, names=words))
        yield from super().post_process(paths, dry_run=dry_run, **options)

    def _shrink(self, name: str, paths: dict[str, Any], how: str, make: Callable[[bytes], bytes]) -> None:
        path = Path(self.path(name))
        whole = path.read_bytes()
        path.write_bytes(kept(how, whole, lambda: make(whole)))
        paths[name] = (self, name)

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
    said = f"{how} {version('brotli')} {version('fonttools')} {LETTERS} {FEATURES} {QUALITY}\n".encode()
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


def with_letters_of_pages(font: bytes) -> bytes:
    """A WOFF2 font with `LETTERS` alone."""
    return _subset(font, [letter for first, last in LETTERS for letter in range(first, last + 1)])


def words_of_the_panel() -> frozenset[str]:
    """Every word in the code that draws the panel: the name of each symbol that it shows is among them."""
    package = Path(import_module("unfold").__file__ or "").parent
    files = [*package.rglob("*.html"), *package.rglob("*.py"), *(package / "static/unfold/js").glob("*.js")]
    return frozenset(word for path in files for word in _WORD.findall(path.read_text(errors="ignore")))


def with_symbols(font: bytes, names: Collection[str]) -> bytes:
    """A WOFF2 font of symbols with those of these names alone."""
    return _subset(font, [ord(letter) for letter in SPELLING], names)


def _subset(font: bytes, letters: list[int], names: Collection[str] | None = None) -> bytes:
    from fontTools import subset  # half a second, and wanted by nobody else

    options = subset.Options(flavor="woff2", hinting=False)
    options.drop_tables = [*options.drop_tables, "FFTM"]
    options.layout_features = [*options.layout_features, *FEATURES]
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
