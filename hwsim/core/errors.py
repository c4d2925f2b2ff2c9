"""The one tree of errors: what is wrong, where, what is allowed, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_DRIFT = 1
EXIT_USAGE = 2
EXIT_INFEASIBLE = 3
EXIT_CAPABILITY = 4
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Location:
    """A place in a text a user wrote: a file (or `--set`), 1-based line and column, and the line itself."""

    file: str
    line: int | None = None
    column: int | None = None
    text: str | None = None
    width: int = 1

    def __str__(self) -> str:
        if self.line is None:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self, remedy: str | None = None) -> str:
        """The line with a caret under the value, followed by the remedy."""
        if self.line is None or self.column is None or self.text is None:
            return f"  = {remedy}" if remedy else ""
        gutter = " " * len(str(self.line))
        caret = " " * (self.column - 1) + "^" * max(1, self.width)
        tail = f" {remedy}" if remedy else ""
        return f"  {self.line} | {self.text}\n  {gutter} | {caret}{tail}"


class HwsimError(Exception):
    """An error a user can act on.

    `message` says what is wrong with its value and unit; `where` the place; `got` the value; `expected` what is
    allowed; `remedy` what to do. `exit_code` is the command line's exit status for this class of error.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self,
        message: str,
        *,
        where: Location | str | None = None,
        got: object = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.got = got
        self.expected = expected
        self.remedy = remedy
        super().__init__(self.render())

    def render(self) -> str:
        """The text shown to the user."""
        head = f"{self.where}  " if self.where is not None else ""
        text = f"{head}{self.message}"
        if self.expected:
            text += f": {self.expected}"
        if isinstance(self.where, Location):
            excerpt = self.where.excerpt(self.remedy)
            return f"{text}\n{excerpt}" if excerpt else text
        return f"{text}\n  = {self.remedy}" if self.remedy else text


class SpecError(HwsimError):
    """A file, an option or a value in it is not what the schema allows."""


class SpecErrorGroup(SpecError):
    """All errors of one file at once."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.message, where=first.where, got=first.got, expected=first.expected, remedy=first.remedy)

    def render(self) -> str:
        text = "\n".join(error.render() for error in self.errors)
        return text if len(self.errors) == 1 else f"{text}\n{len(self.errors)} errors"


class UsageError(HwsimError, ValueError):
    """A command or a function was called with something it cannot take."""


class CapabilityError(HwsimError):
    """Something this machine lacks: a GPU, weights, an optional package."""

    exit_code = EXIT_CAPABILITY
