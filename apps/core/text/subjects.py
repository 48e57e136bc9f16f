"""Whom a sentence is about. Pure.

Sentences travel: what a cluster says stands on its own page without its name, on a run's page with it, and in a list of
targets behind the target's. Whoever passes one on puts the name before it here, and nowhere else, so that none is said
twice.
"""

import re

# What a sentence calls the thing whose name follows.
_NOUN = "(?:(?:The )?(?:[Cc]luster|[Tt]arget|[Rr]un|[Pp]od|[Nn]ode|[Dd]eployment) )?"


def about(name: str, sentence: str, *, at: str = "") -> str:
    """`name: sentence`; the sentence alone where it begins by naming the same, as "Cluster eu is disabled." does.

    `at` is where the thing lies, a target's cluster: where the sentence has that name before it, both names become one.
    """
    place = f"{at}: "
    if at and sentence.startswith(place):
        sentence = sentence.removeprefix(place)
        name = name if _is_part(at, name) else f"{name} on {at}"
    return sentence if _is_named(name, sentence) else f"{name}: {sentence}"


def _is_named(name: str, sentence: str) -> bool:
    return re.match(rf"{_NOUN}{re.escape(name)}(?![-\w]|\.\w)", sentence) is not None


def _is_part(name: str, longer: str) -> bool:
    return re.search(rf"(?<![^-]){re.escape(name)}(?![^-])", longer) is not None
