"""Checks the headers of a response against the request.

Input: the status and headers of a response. Output: the size of the file and the byte range of
the body, or a `Fault`. Only two responses carry wanted bytes: a 206 whose `Content-Range` begins where
the requested range begins (if it ends earlier, it is a part), and a 200 if the whole file was requested.
Anything else would be wrong bytes, or an unwanted download. No I/O.
"""

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from camhd_access.errors import (
    RangeNotSupportedError,
    RemoteFileError,
    RemoteFileNotFoundError,
)
from camhd_access.ranges import ByteRange

__all__ = [
    "Fault",
    "UnsatisfiableRangeError",
    "clip_range",
    "parse_content_length",
    "parse_retry_after",
    "range_header",
    "read_partial_headers",
    "refuse_encoding",
    "status_fault",
]

_NOT_ABOUT_SUFFIXES = (401, 404, 407, 408, 410, 429)

_ADVICE = {
    401: ": login required; give `auth`, `headers` or `cookies` (storage_options), or use ~/.netrc",
    403: ": access refused; a login may be missing (`auth`, `headers` or `cookies` in storage_options, or "
    "~/.netrc), or the URL's signature may have expired",
    407: ": proxy login required; give `proxy` (storage_options) or HTTP(S)_PROXY as http://user:password@host",
}

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII | re.IGNORECASE)


class Fault(Exception):  # noqa: N818 - becomes an error after the last try only
    """Why one try failed, and whether to retry."""

    def __init__(
        self,
        message: str,
        *,
        kind: type[RemoteFileError] = RemoteFileError,
        retry: bool = False,
        max_tries: int = sys.maxsize,
        wait_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry = retry
        self.max_tries = max_tries
        self.wait_seconds = wait_seconds


class UnsatisfiableRangeError(RangeNotSupportedError):
    """Status 416: the range begins beyond the end, or the server does not support this form of range."""


def range_header(wanted: ByteRange) -> str:
    """Value of `Range` for `wanted`; a negative start selects the last bytes (RFC 9110, section 14.1.2)."""
    return f"bytes={wanted.start}" if wanted.start < 0 else f"bytes={wanted.start}-{wanted.stop - 1}"


def clip_range(wanted: ByteRange, size: int) -> ByteRange:
    """The part of `wanted` within a file of `size` bytes; may be empty."""
    if wanted.start < 0:
        return ByteRange(max(0, size + wanted.start), size)
    return ByteRange(min(wanted.start, size), min(wanted.stop, size))


def parse_content_length(headers: Mapping[str, str]) -> int | None:
    """`Content-Length` in bytes; None if the header is missing."""
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
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Raise if the body is compressed: byte positions would be meaningless."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Fault(f"the server encoded the file as {encoding!r} but only 'identity' was requested")


def status_fault(status: int, headers: Mapping[str, str]) -> Fault:
    """The `Fault` for an error status; 408, 429 and 5xx except 501 and 505 are retried."""
    if status in (404, 410):
        return Fault(f"not found on the server (HTTP {status})", kind=RemoteFileNotFoundError)
    retry = status in (408, 429) or (500 <= status < 600 and status not in (501, 505))
    wait_seconds = parse_retry_after(headers.get("Retry-After"), datetime.now(UTC)) if retry else None
    told = "" if wait_seconds is None else f", the server asks to wait {wait_seconds:.0f} s"
    return Fault(f"HTTP {status}{told}{_ADVICE.get(status, '')}", retry=retry, wait_seconds=wait_seconds)


def read_partial_headers(
    status: int, headers: Mapping[str, str], wanted: ByteRange
) -> tuple[int | None, ByteRange | None]:
    """Size of the file, and the range of the body; None if the body must not be read.

    Raises
    ------
    Fault
        A response with other bytes than the requested ones, or an error status.
    """
    if status == 416:
        # Apache sends no size here, and some servers reject the form of the range: the caller finds out.
        raise Fault("HTTP 416, the range is not within the file", kind=UnsatisfiableRangeError)
    if status in (400, 501):
        raise Fault(f"HTTP {status} in response to a range request", kind=RangeNotSupportedError)
    if wanted.start < 0 and status >= 400 and status not in _NOT_ABOUT_SUFFIXES:
        # The server may not support this form of range: retry once on server errors, then let the caller
        # use another form.
        fault = status_fault(status, headers)
        raise Fault(
            str(fault),
            kind=RangeNotSupportedError,
            retry=fault.retry,
            max_tries=2,
            wait_seconds=fault.wait_seconds,
        )
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
        raise Fault(f"HTTP 206 without a valid Content-Range ({told!r})")
    first, last, size = map(int, match.groups())
    held, asked = ByteRange(first, last + 1), clip_range(wanted, size)
    is_part = held.start == asked.start and held.start < held.stop <= asked.stop
    if not is_part or length not in (None, held.n_bytes):
        raise Fault(f"other bytes than requested: Content-Range {told!r}, Content-Length {length}")
    return size, held
