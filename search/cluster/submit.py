"""`ray submit` with arguments that arrive as they were typed.

Ray joins a script's arguments with spaces and hands the line to a shell on the head: 'b c'
becomes two words, $HOME is the head's, what follows a `;` is run. Quoted here, they survive.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from core.errors import InputError
from search.cluster.rules import unfilled


def command(cluster: str, script: str, arguments: Sequence[str], *, tmux: bool) -> list[str]:
    """The `ray submit` command line. InputError for a file that is missing, or a line break."""
    for path in (cluster, script):
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}.\nHint: cluster.yaml, jobs/qtable_search.py")
    text = Path(cluster).read_text(encoding="utf-8")
    if left := next(unfilled(text), None):
        raise InputError(
            f"{cluster}:{left[0]}: {left[1]} is to be filled in.\n"
            f"Hint: `python -m search doctor --cluster {cluster}` names all that lacks."
        )
    try:
        yaml.safe_load(text)["cluster_name"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{cluster} is no cluster file: {error!r}.\nHint: cluster.yaml") from error
    for argument in arguments:
        if "\n" in argument or "\0" in argument:  # it would end the remote command
            raise InputError(f"an argument holds a line break: {argument!r}.\nHint: leave it out.")
    quoted = [shlex.quote(argument) for argument in arguments]
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    return [*ray, "submit", *["--tmux"] * tmux, cluster, script, *["--"] * bool(quoted), *quoted]


def submit(cluster: str, script: str, arguments: Sequence[str], *, tmux: bool) -> int:
    """Run it here; Ray's exit code, which is 1 whatever the job's own was."""
    return subprocess.run(command(cluster, script, arguments, tmux=tmux), check=False).returncode  # noqa: S603
