"""What the headers of an answer say, and whether that is what was asked.

What comes in: a status and the headers of a response. What goes out: the facts about the file, the bytes that
the body holds, or a `Fault`. Only two answers carry wanted bytes: a 206 whose `Content-Range` is exactly the
range that was asked (clipped to the size of the file), and a 200 where the whole file was asked. Anything
else would be other bytes than the caller believes, or a download that nobody asked for. No input or output.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from yarl import URL

from camhd_access.errors import (
    RangeNotSupportedError,
    RemoteFileChangedError,
    RemoteFileError,
    RemoteFileNotFoundError,
)
from camhd_access.ranges import ByteRange

__all__ = [
    "Fault",
    "FileFacts",
    "UnsatisfiableRangeError",
    "Version",
    "clip_range",
    "parse_content_length",
    "parse_retry_after",
    "range_header",
    "read_partial_headers",
    "readable_url",
    "refuse_encoding",
    "status_fault",
]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII | re.IGNORECASE)


class Fault(Exception):  # noqa: N818 - becomes an error only when no try is left
    """What went wrong with one try, and whether another one may mend it."""

    def __init__(
        self,
        message: str,
        *,
        kind: type[RemoteFileError] = RemoteFileError,
        retry: bool = False,
        wait_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry = retry
        self.wait_seconds = wait_seconds


class UnsatisfiableRangeError(RangeNotSupportedError):
    """Status 416: the range begins beyond the end, or the server does not know this form of range."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a server says about a file."""

    size: int | None
    """Length in bytes; None where the server does not tell."""
    etag: str | None = None
    """`ETag` as it was sent."""
    last_modified: str | None = None
    """`Last-Modified` as it was sent."""
    is_directory: bool = False
    """Whether the URL, after redirects, ends in a slash."""

    @property
    def validator(self) -> str:
        """Short string that differs between versions of the file, as far as the server tells them apart."""
        # Apache calls an ETag weak during the first seconds after a change only: the same tag, later strong.
        tag = (self.etag or "").removeprefix("W/").strip('"')
        return f"{tag or self.last_modified or ''}:{self.size}"


class Version:
    """The one version of a file that all answers to one call must come from."""

    def __init__(self, url: str, validator: str | None = None, facts: FileFacts | None = None) -> None:
        self.url = url
        self.validator = validator
        self.facts = facts

    @property
    def size(self) -> int | None:
        """Length of this version in bytes; None until an answer has told it."""
        return self.facts.size if self.facts else None

    def check(self, facts: FileFacts) -> None:
        """Take the version from the first answer; `RemoteFileChangedError` where a later one differs."""
        if self.validator not in (None, facts.validator):
            raise RemoteFileChangedError(
                f"{self.url}: the file was replaced while it was in use (it was {self.validator}, "
                f"now it is {facts.validator}). Open it again to read the new one."
            )
        self.validator = facts.validator
        self.facts = facts


def readable_url(url: str) -> str:
    """`url` for messages and logs: without a password, and without a query, which may hold a signature."""
    return str(URL(url).with_user(None).with_query(None)) if URL(url).host else url


def range_header(wanted: ByteRange) -> str:
    """Value of `Range` for `wanted`; a start below 0 asks for the last bytes (RFC 9110, section 14.1.2)."""
    return f"bytes={wanted.start}" if wanted.start < 0 else f"bytes={wanted.start}-{wanted.stop - 1}"


def clip_range(wanted: ByteRange, size: int) -> ByteRange:
    """The bytes of `wanted` that a file of `size` bytes has; empty where it has none."""
    if wanted.start < 0:
        return ByteRange(max(0, size + wanted.start), size)
    return ByteRange(min(wanted.start, size), min(wanted.stop, size))


def parse_content_length(headers: Mapping[str, str]) -> int | None:
    """`Content-Length` in bytes, or None where the body ends by other means."""
    value = headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait from `now`, from `Retry-After` in either of its forms (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Raise where the body is not the file itself: positions in compressed bytes mean nothing."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Fault(f"the server encoded the file as {encoding!r} although only 'identity' was accepted")


def status_fault(status: int, headers: Mapping[str, str]) -> Fault:
    """What a status that carries no bytes means; tried again are 408, 429 and 5xx but for 501 and 505."""
    if status in (404, 410):
        return Fault(f"status {status}, the server knows no such file", kind=RemoteFileNotFoundError)
    retry = status in (408, 429) or (500 <= status < 600 and status not in (501, 505))
    wait_seconds = parse_retry_after(headers.get("Retry-After"), datetime.now(UTC)) if retry else None
    told = "" if wait_seconds is None else f", asked to wait {wait_seconds:.0f} s"
    return Fault(f"status {status}{told}", retry=retry, wait_seconds=wait_seconds)


def read_partial_headers(
    status: int, headers: Mapping[str, str], wanted: ByteRange
) -> tuple[int | None, ByteRange | None]:
    """Size of the file, and the bytes of it that the body holds; None where the body must not be read.

    Raises
    ------
    Fault
        An answer that is about other bytes than those that were asked, or about none.
    """
    if status == 416:
        # Apache tells no size here, and some servers mean the form of the range: the caller finds out which.
        raise Fault("status 416, no such range", kind=UnsatisfiableRangeError)
    if status in (400, 501):
        raise Fault(f"status {status} in answer to a range", kind=RangeNotSupportedError)
    if status not in (200, 206):
        raise status_fault(status, headers)
    refuse_encoding(headers)
    length = parse_content_length(headers)
    if status == 200:
        whole = length is not None and clip_range(wanted, length) == (0, length)
        return length, ByteRange(0, length) if whole and length is not None else None
    told = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(told.strip())
    if not match:
        raise Fault(f"status 206 without a usable Content-Range ({told!r})")
    first, last, size = map(int, match.groups())
    held = ByteRange(first, last + 1)
    if held != clip_range(wanted, size) or length not in (None, held.n_bytes):
        raise Fault(f"other bytes than those asked: Content-Range {told!r}, Content-Length {length}")
    return size, held
