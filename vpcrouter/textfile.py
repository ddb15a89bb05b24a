"""Text files that people write: read whole, of limited size; at the edge."""

from __future__ import annotations

from pathlib import Path

from ipam.errors import BadInputError


def read_text(path: Path, most: int, advice: str) -> str:
    """The text of a UTF-8 file of at most so many bytes.

    Raises BadInputError, which names the file; ``advice`` is for one that is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise BadInputError(f"{path}: is larger than {most} bytes: {advice}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInputError(f"{path}:{line}: is not UTF-8 text") from error
