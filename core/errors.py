"""The one error that the caller can cause and repair."""


class InputError(ValueError):
    """The caller gave what cannot be used; the text says what was expected, found, and to do."""
