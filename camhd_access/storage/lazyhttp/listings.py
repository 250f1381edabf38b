"""A directory listing as HTML → its entries.

Apache lists as a plain `<ul>`, as preformatted text (FancyIndexing) or as a table (HTMLTable), nginx as
preformatted text. In all of them an entry is a link to something directly below the listing: its `href`
counts, never its text, which nginx truncates. Links to the parent, to other orders of sorting, to other
places are no entries. A size is taken only where it is exact: nginx gives bytes, Apache "13G".
A page whose outer elements are not closed was cut off on its way, and is an error. No input or output happens
here.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from yarl import URL

from camhd_access.errors import RemoteFileError, TruncatedResponseError
from camhd_access.storage.lazyhttp.answers import readable_url

__all__ = ["ListingEntry", "parse_listing"]

# Date, time and a word of digits alone: "13G" and "-" are no exact sizes. A description may follow.
_EXACT_SIZE = re.compile(r"\s*[\w-]+ \d\d:\d\d\s+(\d+)(?!\S)", re.ASCII)

_OUTER = ("html", "pre", "table", "ul")


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """One file or folder of a listing."""

    name: str
    """Last part of the URL, percent-encoded, without a slash."""
    type: Literal["file", "directory"]
    """A directory where the link ends in a slash."""
    size: int | None
    """Length in bytes where the listing tells it exactly."""


class _LinkParser(HTMLParser):
    """Collects the links of a page, each with the text that follows it, and the page's title."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, list[str]]] = []
        self.title = ""
        self._within = ""
        self._open = dict.fromkeys(_OUTER, 0)

    @property
    def is_cut_off(self) -> bool:
        """Whether an element that holds the entries was opened, and never closed."""
        return any(self._open.values())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.links.append((href, []))
        if tag in _OUTER:
            self._open[tag] += 1
        if tag in ("a", "title"):
            self._within = tag
        elif tag == "td":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _OUTER:
            self._open[tag] = max(0, self._open[tag] - 1)
        if tag == self._within:
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "title":
            self.title += data
        elif self.links and not self._within:
            self.links[-1][1].append(data)


def parse_listing(html: str, base_url: str) -> list[ListingEntry]:
    """Entries of the listing `html`, in its order, each once.

    Parameters
    ----------
    base_url
        Where the page came from, after redirects.

    Raises
    ------
    TruncatedResponseError
        The page ends in the middle: what it shows is not all there is.
    RemoteFileError
        The page is no listing: nothing in it lies below `base_url`, and its title does not begin "Index of"
        as those of Apache and nginx do, also for an empty directory.
    """
    parser = _LinkParser()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError as error:  # how html.parser complains of some malformed declarations
        raise RemoteFileError(f"{readable_url(base_url)}: not a directory listing ({error})") from error
    if parser.is_cut_off:
        raise TruncatedResponseError(f"{readable_url(base_url)}: the directory listing is cut off")
    base = URL(base_url).join(URL("."))
    entries: dict[str, ListingEntry] = {}
    for href, following in parser.links:
        name = _name_below(href, base)
        if name is None:
            continue
        is_directory = name.endswith("/")
        size = None if is_directory else _EXACT_SIZE.match("".join(following).replace("\xa0", " "))
        entry = ListingEntry(
            name.removesuffix("/"), "directory" if is_directory else "file", int(size[1]) if size else None
        )
        known = entries.get(entry.name)
        if (
            known is None or known.size is None
        ):  # of two links the icon's comes first, the size with the second
            entries[entry.name] = entry
    if not entries and not parser.title.strip().lower().startswith("index of"):
        title = parser.title.strip()
        raise RemoteFileError(f"{readable_url(base_url)}: not a directory listing (its title: {title!r})")
    return list(entries.values())


def _name_below(href: str, base: URL) -> str | None:
    """The one part of the path that `href` adds to `base`, or None where it leads elsewhere."""
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
