"""What is wrong with a cluster file, before `ray up` costs money or opens a door.

Ray's own schema says what is no cluster file, `rules` what would be unsafe or costly;
what is not filled in is named with its line.
"""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from search.cluster.rules import BY_PROVIDER, EVERYWHERE, unfilled
from search.progress import say


def problems(path: str | Path) -> list[str]:
    """What to mend in the file, each with a hint; an empty list where nothing is."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read: {error}"]
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"{path} is no YAML: {error}"]
    provider = raw.get("provider") if isinstance(raw, dict) else None
    if not isinstance(provider, dict) or provider.get("type") not in BY_PROVIDER:
        kinds = " or ".join(BY_PROVIDER)
        return [f"{path}: expected a cluster file with `provider: {{type: {kinds}}}`."]
    found = [
        f"{path}:{number}: {word} is to be filled in. Hint: docs/cluster.md."
        for number, word in unfilled(text)
    ]
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every default it fills in
    try:
        config = prepare_config(copy.deepcopy(raw))
        validate_config(config)
    except Exception as error:  # noqa: BLE001 - Ray raises what its schema library raises
        said = (str(error).splitlines() or [repr(error)])[0]
        return [*found, f"{path} is no cluster file to Ray: {said}"]
    for rule in (*EVERYWHERE, *BY_PROVIDER[provider["type"]]):
        found += [f"{path}: {problem}" for problem in rule(config)]
    return found


def check_files(paths: Sequence[str]) -> int:
    """Say what is wrong with some cluster files; 2 where anything is."""
    found = [problem for path in paths for problem in problems(path)]
    for problem in found:
        say(f"error: {problem}")
    if not found:
        print("nothing to mend")
    return 2 if found else 0
