"""Places named by URI: opening them, and speaking of them without giving a secret away."""

import re
from typing import Any

import fsspec

from core.errors import InputError

PASSWORD = re.compile(r"://[^/@:]*:.*@")  # a password may hold a slash: up to the last @
_LOST = re.compile(
    r"([a-z][a-z0-9+.-]+):/(?!/)|(s3a?|gcs|gs|az|abfss?|hdfs|https?|file):(?!//)", re.IGNORECASE
)


def is_uri(path: str) -> bool:
    """Whether that is a URI, not a path of this machine."""
    return "://" in path


def check_path(path: str) -> None:
    """Raise an `InputError` for a URI that lost a slash, as one in a pathlib.Path does."""
    lost = _LOST.match(path)
    if lost is not None:
        scheme, rest = (lost[1] or lost[2]).lower(), path[lost.end() :].lstrip("/")
        meant = f"/{rest}" if scheme == "file" else f"{scheme}://{rest}"
        raise InputError(
            f"expected a path or a URI, got one that begins with {lost[0]!r}.\n"
            f"Hint: did you mean {shown(meant)}? A folder of that name is ./{lost[0]}..."
        )


def open_uri(uri: str) -> tuple[Any, str]:
    """The file system, and the URI's path in it; nothing is asked of the network yet.

    InputError for a password or a query in the URI, an unknown protocol, a missing package.
    """
    if PASSWORD.search(uri) or "?" in uri:
        raise InputError(
            f"expected a URI without password and without '?', got {shown(uri)}.\n"
            "Hint: rows, logs and lists of processes show it; credentials belong into the "
            "environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...), a role, or fsspec's configuration."
        )
    protocol = uri.partition("://")[0]
    # Not one that another part of the process shares, nor listings that it remembers.
    alone = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        opened, base = fsspec.core.url_to_fs(uri, **alone)
    except ImportError as cause:
        raise InputError(
            f"expected a package that reads {protocol}://, found none: {in_words(cause)}\n"
            "Hint: for s3:// pip install 'qtable-sweeps[aws]', for others the package that is "
            "named, on every node."
        ) from cause
    except Exception as cause:
        raise InputError(
            f"expected a URI that fsspec opens, got {uri}: {in_words(cause)}\n"
            "Hint: s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, ..., or the path of a folder."
        ) from cause
    return opened, base.rstrip("/")


def shown(uri: str) -> str:
    """The URI without what may be secret."""
    return PASSWORD.sub("://...@", uri).partition("?")[0]


def in_words(cause: Exception) -> str:
    """An error's text in one line, addresses in it without user and query."""
    text = re.sub(r"\?[^\s'\"]*", "", " ".join(str(cause).split()))
    return re.sub(r"://[^/\s]*@", "://", text)[:300] or "no reason given"
