"""Imports that wait until they are needed: a command line is read before torch is imported.

What Python 3.15 has as `lazy import`, as far as pages need it;
docs/decisions/0018-imports-that-wait.md.
"""

import builtins
import contextlib
import functools
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

_real = builtins.__import__
_waiting = {"__main__", "search"}  # packages whose imports wait


class Later:
    """Stands for something to be imported, until `import_now` puts it in place.

    It may be an annotation before that, be called, or be a class's base, which import it.
    """

    def __init__(self, module: str, *names: str) -> None:
        self._module, self._names = module, names

    def __repr__(self) -> str:
        return ".".join((self._module, *self._names))

    def __getattr__(self, name: str) -> "Later":
        if name.startswith("__"):  # generic types look for theirs
            raise AttributeError(name)
        return Later(self._module, *self._names, name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """As the real one."""
        return self._imported()(*args, **named)

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[type, ...]:
        return (self._imported(),)

    def _imported(self) -> Any:
        found = _real(self._module, fromlist=self._names[:1])  # it may be a module itself
        return functools.reduce(getattr, self._names, found)


def wait_in(package: str) -> None:
    """Let the modules of a package wait, too: of one whose flags are about to be read."""
    _waiting.add(package)


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Let what a module imports in this block wait.

    Not in a page that somebody's program imports: there it is imported at once.
    """
    own = sys._getframe(2).f_globals  # noqa: SLF001 - of the module that says it
    if own["__name__"].partition(".")[0] not in _waiting:
        yield
        return

    def wait(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as the interpreter calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if globals is not own:
            return _real(name, globals, locals, fromlist or (), level)
        if not fromlist:
            return Later(name)
        return SimpleNamespace(**{each: Later(name, each) for each in fromlist})

    builtins.__import__ = wait
    try:
        yield
    finally:
        builtins.__import__ = _real


def import_now(names: dict[str, Any]) -> None:
    """Import all that waits among a module's names."""
    gc.disable()  # a tenth of torch's import would go into looking for garbage; there is none
    try:
        for name, value in names.items():
            if isinstance(value, Later):
                names[name] = value._imported()  # noqa: SLF001 - for nobody else
    finally:
        gc.enable()
