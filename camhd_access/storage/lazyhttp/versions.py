"""Which version of a file a response belongs to, and whether two responses agree.

Input: size, ETag and Last-Modified of responses. Output: a *validator*, a short string that
differs between versions, as far as the server's headers do. The replicas behind a host name may report
different ETags (Apache made them from inodes) or times for one file: they are compared by size only, and by
Last-Modified if they agree on it. No I/O.
"""

from dataclasses import dataclass, replace

from camhd_access.errors import RemoteFileChangedError

__all__ = ["FileFacts", "Version", "find_date", "is_by_size", "is_same_version"]

_BY_SIZE = "by size "  # an ETag has no blank, and no Last-Modified begins like this


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The properties of a file in response headers."""

    size: int | None
    """Length in bytes; None if the server does not send it."""
    etag: str | None = None
    """`ETag` as sent."""
    last_modified: str | None = None
    """`Last-Modified` as sent."""
    is_directory: bool = False
    """Whether the URL, after redirects, ends in a slash."""
    replicas_date: str | None = None
    """Not None if only the size identifies versions: the Last-Modified that has to agree, or ""."""

    @classmethod
    def of(cls, validator: str, size: int) -> "FileFacts":
        """The facts of a version of which only the validator and the size are known."""
        if is_by_size(validator):
            date = _parts(validator)[0]
            return cls(size, last_modified=date or None, replicas_date=date)
        return cls(size, etag=validator.rpartition(":")[0])

    @property
    def validator(self) -> str:
        """Short string that differs between versions of the file, as far as the server's headers do."""
        if self.replicas_date is not None:
            return f"{_BY_SIZE}{(self.replicas_date and self.last_modified) or ''}:{self.size}"
        # Apache sends a weak ETag only during the first seconds after a change: the same tag, later strong.
        tag = (self.etag or "").removeprefix("W/").strip('"')
        return f"{tag or self.last_modified or ''}:{self.size}"

    def describe(self, url: str) -> dict[str, str | int | None]:
        """The facts by fsspec's names."""
        return {
            "name": url,
            "size": None if self.is_directory else self.size,
            "type": "directory" if self.is_directory else "file",
            "etag": self.etag,
            "last_modified": self.last_modified,
            "validator": self.validator,
        }


def is_by_size(validator: str) -> bool:
    """Whether only the size, and perhaps the date, identifies this version."""
    return validator.startswith(_BY_SIZE)


def is_same_version(one: str, other: str) -> bool:
    """Whether two validators may belong to one version: equal, or of one size if no more is compared."""
    if one == other or not (one.startswith(_BY_SIZE) or other.startswith(_BY_SIZE)):
        return one == other
    (one_date, one_size), (other_date, other_size) = _parts(one), _parts(other)
    return one_size == other_size and (one_date == other_date or "" in (one_date, other_date))


def _parts(validator: str) -> tuple[str, str]:
    """The date that has to agree (or ""), and the size."""
    mark, _, size = validator.rpartition(":")
    return mark.removeprefix(_BY_SIZE) if mark.startswith(_BY_SIZE) else "", size


def find_date(replicas: list[FileFacts]) -> str:
    """The Last-Modified that all replicas agree on, or ""."""
    dates = {each.last_modified or "" for each in replicas}
    return dates.pop() if len(dates) == 1 else ""


class Version:
    """The version of a file that all responses to one call must belong to."""

    def __init__(self, url: str, validator: str | None = None, facts: FileFacts | None = None) -> None:
        self.url = url
        self.validator = validator
        self.facts = facts
        self.other: FileFacts | None = None
        """The facts that did not match, once `check` has failed."""

    @property
    def size(self) -> int | None:
        """Length of this version in bytes; None before the first response."""
        return self.facts.size if self.facts else None

    def check(self, facts: FileFacts) -> None:
        """Take the version from the first response; `RemoteFileChangedError` if a later one differs."""
        if self.validator is not None and not self._fits(facts):
            self.other = facts
            raise RemoteFileChangedError(
                f"{self.url}: the file was replaced while it was in use (before: {self.validator}, "
                f"now: {facts.validator}). Open it again to read the new version."
            )
        self.validator = facts.validator if self.validator is None else self.validator
        self.facts = facts

    def _fits(self, facts: FileFacts) -> bool:
        pinned = str(self.validator)
        if pinned.startswith(_BY_SIZE):  # set by a caller that knows the replicas
            facts = replace(facts, replicas_date=_parts(pinned)[0])
        return is_same_version(pinned, facts.validator)
