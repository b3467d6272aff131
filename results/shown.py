"""What may be shown: text without secrets, and without commands to the terminal that shows it.

All that a user or a library says of a URI goes through here before it is printed, logged or stored.
"""

import os
import re
import sys
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

_SCHEME = r"(?<![\w+.-])\w[\w+.-]*:/{1,3}"
# A password may hold a slash, so after "user:" everything up to the last @ goes.
_USER = r"(?:[^/@:\s'\"]*:[^\s'\"]*|[^/@\s'\"]*)@"
_NAMED = re.compile(
    r"((?:pass(?:word|wd|phrase)?|pwd|secret\w{0,20}|token|sig(?:nature)?|(?:access|account|api)_?key"
    r"\w{0,20})=)[^\s;,'\"]+",
    re.IGNORECASE,
)
# An attack is written like a user and a password: apgd-t:targets=3,through=cubic@2x40
_ATTACK = re.compile(r"(?:--[\w-]+=)?[\w-]+:\w+=[\w.,=+-]*@\d+(?:\.\d+)?(?:x\d+){0,2}", re.ASCII)
OUTPUT = "standard output"  # the file of an error in writing there
_SHORTEST = 4  # what is shorter stands in too many other words
_known: set[str] = set()  # secrets of this process's command line and environment


def redacted(uri: str) -> str:
    """The URI without user, password, or query: what may stand in logs and rows."""
    if "://" not in uri:
        return uri
    return re.sub(r"(\w[\w+.-]*://)(?:[^/@:]*:.*|[^/@]*)@", r"\1", uri).split("?")[0]


def remember(*texts: str) -> bool:
    """Have `scrubbed` know the secrets in these words of a user; whether there are any."""
    found = set(_secrets(texts))
    _known.update(found)
    return bool(found)


def scrubbed(text: str, *uris: str) -> str:
    """The text without what may be secret: in addresses, named so, of `uris`, or remembered."""
    for secret in sorted({*_known, *_secrets(uris)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(rf"({_SCHEME}){_USER}", r"\1", text)
    text = re.sub(rf"({_SCHEME}[^\s'\"?]*)\?[^\s'\"]+", r"\1", text)
    return _NAMED.sub(r"\1***", text)


def _secrets(texts: Iterable[str]) -> Iterator[str]:
    """Passwords, and values of queries, however a library may spell or cut them."""
    for text in texts:
        found = re.findall(r"(?::/{1,3}|//)[^/@:]*:(.+)@", text, re.DOTALL)
        if not found and not _ATTACK.fullmatch(text):
            found = re.findall(r"^[^/@:]*:([^/].*)@", text, re.DOTALL)  # without its slashes
        found += re.findall(r"[?&][^=&]*=([^&]+)", text) if ":" in text else []
        found += [match[0].partition("=")[2] for match in _NAMED.finditer(text)]
        for word in found:
            plain = {word, urllib.parse.unquote(word), urllib.parse.unquote_plus(word)}
            whole = {*plain, *map(urllib.parse.quote, plain), *map(urllib.parse.quote_plus, plain)}
            whole |= {repr(form)[1:-1] for form in whole}
            parts = {part for form in whole for part in re.split(r"[/@:?#\s\\]+", form)}
            yield from (form for form in whole | parts if len(form) >= _SHORTEST)


def fault(word: str) -> str:
    """Why a word of a command line can be no name or path; empty where it can."""
    if not word:
        return "expected a text, got an empty one"
    bad = sorted({c for c in word if unicodedata.category(c) in ("Cc", "Cs")})
    return f"expected text in UTF-8 without control characters, got {bad[0]!a}" if bad else ""


def plain(text: str) -> str:
    """The text with control characters written out: a terminal would obey them."""
    shown = (c if c in "\n\t" or unicodedata.category(c) != "Cc" else ascii(c)[1:-1] for c in text)
    return "".join(shown)


def near(path: str) -> str:
    """A path from the current folder, where it lies below; others as they are."""
    own = Path(path)
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else path


def show(text: str, *, end: str = "\n") -> None:
    """Print to standard output what may be shown; a reader who has gone is told nothing.

    OSError where it is written to a file whose disk is full.
    """
    try:
        print(plain(scrubbed(text)), end=end, flush=True)
    except BrokenPipeError:
        with Path(os.devnull).open("w") as nowhere:  # for what the interpreter flushes at its end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, OUTPUT) from error


def forgiving() -> None:
    """Have letters that the terminal's encoding lacks written out, rather than be an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
