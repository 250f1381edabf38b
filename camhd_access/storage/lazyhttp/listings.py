"""An HTML directory listing → its entries.

Apache lists as a plain `<ul>`, as preformatted text (FancyIndexing) or as a table (HTMLTable), nginx as
preformatted text. In all of them an entry is a link to something directly below the listing: its `href`
counts, never its text, which nginx truncates. Links to the parent, to other sort orders or to other
places are ignored. A size is used only if it is exact: nginx gives bytes, Apache "13G".
No I/O.
"""

import re
import time
from dataclasses import dataclass
from html import unescape
from itertools import count
from typing import Literal, NamedTuple

from yarl import URL

from camhd_access.errors import RemoteFileError, TruncatedResponseError
from camhd_access.urls import redact_url

__all__ = ["ListingEntry", "parse_listing"]

# Date, time and a word of digits alone: "13G" and "-" are not exact. A description may follow.
_EXACT_SIZE = re.compile(r"\s*[\w-]+ \d\d:\d\d\s+(\d{1,19})(?!\S)", re.ASCII)

_OUTER = ("html", "pre", "table", "ul")
"""Elements that hold the entries: a page with an unclosed one is truncated."""

_TAG = re.compile(r"<(!--|!doctype|[/!?]?[a-z][a-z0-9]*)", re.IGNORECASE | re.ASCII)
_HREF = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_END_OF_CODE = re.compile("</(?:script|style)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"(?!\.\.?/?$)[\w.~-]+/?", re.ASCII)

MAX_SECONDS = 2
"""Limit of CPU time for one listing: the 60,000 names of 8 MB take a fifth of it."""

MAX_HREF_CHARACTERS = 8192
"""Limit for the link of an entry; servers do not accept longer addresses."""

MAX_TEXT_CHARACTERS = 1000
"""Number of characters after a link that are searched for date and size."""

MAX_TITLE_CHARACTERS = 100
"""Maximum length of a page's title in a message."""


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """One file or folder of a listing."""

    name: str
    """Last part of the URL, percent-encoded, without a slash."""
    type: Literal["file", "directory"]
    """Whether the link ends in a slash."""
    size: int | None
    """Length in bytes, if the listing has the exact number."""


class _Page(NamedTuple):
    """The relevant content of a page."""

    links: list[tuple[str, list[str]]]
    """Each `href`, and the text between the link and the next one."""
    title: str
    is_cut: bool
    """Whether an element that holds the entries is not closed."""


class _Patience:
    """Counts the steps of work on a page, and ends it with `RemoteFileError` after `MAX_SECONDS`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._steps = count()
        self._deadline = time.thread_time() + MAX_SECONDS

    def step(self) -> None:
        if next(self._steps) % 512 == 0 and time.thread_time() > self._deadline:
            raise RemoteFileError(
                f"{redact_url(self._url)}: parsing this listing takes more than {MAX_SECONDS} s"
            )


def _scan(html: str, patience: _Patience) -> _Page:  # noqa: PLR0912 - one case a kind of tag
    """The links of a page, found in a single pass."""
    links: list[tuple[str, list[str]]] = []
    title: list[str] = []
    within, position = "", 0
    n_open = dict.fromkeys(_OUTER, 0)
    while True:
        patience.step()
        start = html.find("<", position)
        text = html[position : start if start >= 0 else len(html)]
        if within == "title":
            title.append(text)
        elif links and not within:
            links[-1][1].append(text)
        if start < 0:
            break
        tag = _TAG.match(html, start)
        if tag is None:  # a "<" that is not a tag
            position = start + 1
            continue
        name = tag[1].lower()
        stop = html.find(">" if name != "!--" else "-->", tag.end())
        if stop < 0:
            break
        position = stop + 1
        if name == "a" and (href := _HREF.search(html, tag.end(), stop)):
            links.append((href[1] or href[2] or href[3] or "", []))
        if name in {"a", "title"}:
            within = name
        elif name == f"/{within}":
            within = ""
        elif name == "td" and links and not within:
            links[-1][1].append(" ")
        elif name in {"script", "style"}:
            end = _END_OF_CODE.search(html, position)
            position = end.start() if end else len(html)
        if name in n_open:
            n_open[name] += 1
        elif name[1:] in n_open:
            n_open[name[1:]] = max(0, n_open[name[1:]] - 1)
    return _Page(links, unescape("".join(title)[:MAX_TITLE_CHARACTERS]).strip(), is_cut=any(n_open.values()))


def parse_listing(html: str, base_url: str) -> list[ListingEntry]:
    """Entries of the listing `html`, in its order, each once.

    Parameters
    ----------
    base_url
        URL of the page, after redirects.

    Raises
    ------
    TruncatedResponseError
        The page is truncated, so entries are missing.
    RemoteFileError
        The page takes too long to parse; or is not a listing: it has no link below `base_url`, and its
        title does not begin with "Index of", as with Apache and nginx even for an empty directory.
    """
    patience = _Patience(base_url)
    page = _scan(html, patience)
    if page.is_cut:
        raise TruncatedResponseError(f"{redact_url(base_url)}: the directory listing is truncated")
    base = URL(base_url).join(URL("."))
    entries: dict[str, ListingEntry] = {}
    for href, following in page.links:
        patience.step()
        name = _name_below(unescape(href), base) if len(href) <= MAX_HREF_CHARACTERS else None
        if name is None:
            continue
        is_directory = name.endswith("/")
        text = unescape("".join(following)[:MAX_TEXT_CHARACTERS]).replace("\xa0", " ")
        size = None if is_directory else _EXACT_SIZE.match(text)
        entry = ListingEntry(
            name.removesuffix("/"), "directory" if is_directory else "file", int(size[1]) if size else None
        )
        known = entries.get(entry.name)
        if (
            known is None or known.size is None
        ):  # of two links, the icon's comes first, and the size follows the second
            entries[entry.name] = entry
    if not entries and not page.title.lower().startswith("index of"):
        raise RemoteFileError(f"{redact_url(base_url)}: not a directory listing (its title: {page.title!r})")
    return list(entries.values())


def _name_below(href: str, base: URL) -> str | None:
    """The one path segment that `href` adds to `base`; None if it leads elsewhere."""
    if _PLAIN_NAME.fullmatch(href):  # almost always; parsing a URL takes ten times as long
        return href
    try:
        target = base.join(URL(href.strip()))
    except ValueError:
        return None
    if target.query_string or target.fragment or target.host != base.host:
        return None
    if target.explicit_port != base.explicit_port or not target.raw_path.startswith(base.raw_path):
        return None
    name = target.raw_path.removeprefix(base.raw_path)
    return name if name.removesuffix("/") and "/" not in name.removesuffix("/") else None
