"""The text that names an attack and its settings: "pgd", "cw:confidence=5,searches=6"."""

from collections.abc import Mapping
from typing import Any

from core.attacks.families import FAMILIES
from core.errors import InputError

NAMES = tuple(FAMILIES)


def parse(name: str) -> tuple[str, Mapping[str, Any]]:
    """The attack's bare name and all its settings; InputError for what it does not have."""
    head, colon, text = name.partition(":")
    if head not in FAMILIES:
        raise InputError(
            f"the attack must be one of {', '.join(NAMES)}, got {name!r}.\n"
            "Hint: --attack fgsm is the paper's search."
        )
    known = FAMILIES[head].settings
    values: dict[str, Any] = {key: setting.default for key, setting in known.items()}
    for pair in text.split(",") if colon else ():
        key, _, value = pair.partition("=")
        if key not in known:
            raise InputError(
                f"{head} has the settings {', '.join(known) or '(none)'}, got {pair!r}.\n"
                "Hint: as in cw:confidence=5,searches=6."
            )
        values[key] = _value(head, key, value)
    return head, values


def _value(head: str, key: str, text: str) -> Any:
    setting = FAMILIES[head].settings[key]
    try:
        value = type(setting.default)(text)
        valid = setting.valid(value)
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"expected {key} {setting.wanted}, got {text!r}.\n"
            f"Hint: {head} alone takes {key} {setting.default or 'none'}."
        )
    return value


def spelled(head: str, settings: Mapping[str, Any]) -> str:
    """The one way to write an attack: settings that differ from the usual, in order of name."""
    usual = FAMILIES[head].settings
    given = sorted((k, v) for k, v in settings.items() if v != usual[k].default)
    pairs = ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in given)
    return f"{head}:{pairs}" if pairs else head
