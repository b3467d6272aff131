"""The one reader of NAME:KEY=VALUE,...: attacks, recipes."""

from collections.abc import Mapping

from core.errors import InputError


def read(text: str) -> tuple[str, Mapping[str, str]]:
    """The name and its settings as written; InputError for one given twice or without a name."""
    name, colon, rest = text.partition(":")
    settings: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        key, _, value = pair.partition("=")
        if not key or key in settings:
            raise InputError(
                f"expected settings as KEY=VALUE, each once, got {pair!r} in {text!r}.\n"
                "Hint: as in cw:confidence=5,searches=6."
            )
        settings[key] = value
    return name, settings
