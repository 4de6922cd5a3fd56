"""Text from a peer in log lines and refusals: on one line, harmless to a terminal, of bounded length."""

from __future__ import annotations

MOST_CHARACTERS = 256
"""So much of one value is shown to people."""

MOST_SENTENCE = 1_000
"""So much of a sentence that quotes values is shown."""


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    r"""Return text as it may stand in a log line.

    Line breaks, control characters, marks that change the direction of writing and lone surrogates are escaped, as
    ``\n`` and ``\u202e``; letters of any script stay as they are.

    :param most: characters of the text that are kept; three dots stand for the rest.
    """
    if len(text) > most:
        text = text[:most] + "..."
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else repr(character)[1:-1] for character in text])


def handler_of(event: str, namespace: str) -> str:
    """Name a handler in a log line."""
    return f"the handler of event '{printable(event)}' on namespace '{printable(namespace)}'"
