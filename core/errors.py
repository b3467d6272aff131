"""Errors that the caller can cause and repair."""


class InputError(ValueError):
    """The caller gave what cannot be used; the text says what was expected, found, and to do."""


class UnknownNameError(InputError):
    """Nothing is called so; who knows what a name stands for may say it in words of its own."""
