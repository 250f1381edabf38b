"""URLs as text: what may be shown, what identifies the object, and where a redirect leads.

A URL is kept byte for byte as given, because a signature may cover it as written. So nothing
here splits a URL and joins it again: text is cut out, and the rest stays as it is.
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, unquote, urljoin

__all__ = [
    "escape_url",
    "identify_url",
    "is_place",
    "options_of",
    "redact_url",
    "resolve_location",
    "split_login",
    "text_of",
]

_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NOT_SENT_AS_IT_IS = re.compile(r"[^!-~]+")  # anything but visible ASCII characters

_SIGNATURES = {
    # Amazon S3 and Google Cloud Storage, version 4
    "x-amz-signature": re.compile(r"x-amz-.*"),
    "x-goog-signature": re.compile(r"x-goog-.*"),
    # both of them, version 2, and CloudFront
    "signature": re.compile(r"signature|awsaccesskeyid|googleaccessid|key-pair-id|policy|expires"),
    # Azure Blob Storage: shared access signatures of an account, a service or a user
    "sig": re.compile(r"sig|s[vsrptei]|srt|sip|spr|ses|sdd|sk[testv]|skoid|sktid|saoid|suoid|scid"),
}
"""The parameter that holds a signature, and all parameters that belong to it."""


def text_of(place: str | os.PathLike[str]) -> str:
    """A path or URL as text, also of a `UPath`, which is not an `os.PathLike` if it is remote."""
    return str(place) if _is_upath(place) else os.fsdecode(place)


def options_of(place: object, storage_options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The options for the filesystem of `place`: those of a `UPath`, overridden by `storage_options`."""
    if not _is_upath(place):
        return storage_options
    held: Mapping[str, Any] = place.storage_options  # type: ignore[attr-defined]
    return {**held, **(storage_options or {})}


def is_place(value: object) -> bool:
    """Whether it is a path or URL: text, an `os.PathLike` of text, or a `UPath`."""
    return _is_upath(value) or (isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str))


def _is_upath(place: object) -> bool:
    """Whether it is a path of universal_pathlib, without importing that."""
    return not isinstance(place, str) and hasattr(place, "protocol") and hasattr(place, "storage_options")


def redact_url(url: str) -> str:
    """`url` for messages and logs: without user, password, query and fragment."""
    return _QUERY_OR_FRAGMENT.sub("", _USER.sub("", url)) if "://" in url else url


def identify_url(url: str, ignored: Collection[str] | None = None) -> str:
    """The part of `url` that identifies the object: without user, password, fragment and signature.

    Parameters
    ----------
    ignored
        Names of the query parameters to ignore. By default those of signed URLs of S3, Azure and
        Google Cloud Storage, where the URL holds such a signature.
    """
    address, _, query = _USER.sub("", url).partition("#")[0].partition("?")
    fields = [(unquote(each.partition("=")[0]), each) for each in query.split("&") if each]
    if ignored is None:
        kept = _without_signatures(fields)
    else:
        kept = [each for name, each in fields if name not in ignored]
    return "?".join([address, "&".join(kept)] if kept else [address])


def _without_signatures(fields: list[tuple[str, str]]) -> list[str]:
    for signature, its_own in _SIGNATURES.items():
        if any(name.lower() == signature for name, _ in fields):
            fields = [field for field in fields if not its_own.fullmatch(field[0].lower())]
    return [each for _, each in fields]


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """`url` without user and password, and these two; None if it has none."""
    found = _USER.search(url)
    if found is None:
        return url, None
    user, _, password = found[0].removesuffix("@").partition(":")
    return url[: found.start()] + url[found.end() :], (unquote(user), unquote(password))


def escape_url(url: str) -> str:
    """`url` with blanks, control and non-ASCII characters percent-encoded, as a request line requires."""
    return _NOT_SENT_AS_IT_IS.sub(lambda run: quote(run[0].encode(errors="surrogateescape"), safe=""), url)


def resolve_location(base: str, location: str) -> str:
    """The target of a `Location` header in a response from `base` (RFC 9110, 10.2.2), its bytes unchanged."""
    if _SCHEME.match(location):
        return location
    scheme, _, rest = base.partition("://")
    if location.startswith("//"):
        return f"{scheme}:{location}"
    if location.startswith("/"):
        return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}{location}"
    return urljoin(base, location)
