"""Which URLs belong to a run: the list's places, what it leaves alone, how deep, which look like traps."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

from copyhound.monitor_types import Assignment, Place, PlaceKind
from crawler import urls
from crawler.extract import Kind, Link
from crawler.frontier import Found, Task

_KINDS: Final = {
    PlaceKind.PAGE: Kind.PAGE,
    PlaceKind.DOMAIN: Kind.PAGE,
    PlaceKind.SITEMAP: Kind.SITEMAP,
    PlaceKind.FEED: Kind.FEED,
    PlaceKind.SEARCH: Kind.PAGE,
    PlaceKind.MEDIA: Kind.MEDIA,
}
_LEADS_ANYWHERE: Final = frozenset((PlaceKind.FEED, PlaceKind.SEARCH, PlaceKind.SITEMAP))
"""Places that are there to name pages of other sites; those are read, their links are not followed."""


class LeaveAlone:
    """Sites and accounts of licensees; however many there are, a lookup only looks at those of the host."""

    def __init__(self, places: Iterable[str]) -> None:
        """Sort hosts and beginnings of URLs by host."""
        self._by_host: dict[str, list[str]] = defaultdict(list)
        for place in places:
            bare = place.strip().partition("://")[2] or place.strip()
            host = bare.partition("/")[0].lower().rstrip(".")
            if host:
                self._by_host[host].append(bare)

    def __contains__(self, url: str) -> bool:
        """Whether a URL is to be left alone."""
        if not self._by_host:
            return False
        netloc = urls.host_of(url)
        for name in {netloc, netloc.partition(":")[0]}:
            labels = name.split(".")
            for start in range(len(labels)):
                for place in self._by_host.get(".".join(labels[start:]), ()):
                    if urls.within(url, place):
                        return True
        return False


class Scope:
    """The rules of one run."""

    def __init__(self, assignment: Assignment) -> None:
        """Read the rules."""
        self.places: Sequence[Place] = assignment.places
        self.max_depth = assignment.max_depth
        self._leave_alone = LeaveAlone(assignment.leave_alone)
        self._sites = [_site(place) for place in assignment.places]

    def starts(self) -> list[tuple[int, Found]]:
        """Return (index of the place, where to begin) for every place that can be fetched."""
        found = []
        for index, place in enumerate(self.places):
            url = place.url
            if place.kind is PlaceKind.DOMAIN and "://" not in url:
                url = f"https://{url}/"
            if place.keywords and "{keywords}" in url:
                url = url.replace("{keywords}", quote(" ".join(place.keywords)))
            target = urls.absolute(url)
            if target and not self.refusal(target):
                follow = place.kind is not PlaceKind.MEDIA
                found.append((index, Found(target, _KINDS[place.kind], 0, follow, found_as=place.kind)))
        return found

    def refusal(self, url: str) -> str:
        """Say why a URL is not fetched, whatever names it; empty: it may be."""
        if url in self._leave_alone:
            return "the list leaves it alone"
        return urls.trap(url)

    def follow(self, task: Task, link: Link, page_url: str) -> Found | None:
        """Return what a link of a page leads to; None: nothing.

        Frames belong to the page that shows them, wherever they come from; their own links lead nowhere.

        Args:
            task: The page.
            link: One of its links.
            page_url: The page's address after redirects. Where a place moved to is at home too.
        """
        if self.refusal(link.url):
            return None
        if link.kind is Kind.FRAME:
            depth = task.depth + (task.kind is Kind.FRAME)
            return Found(link.url, Kind.FRAME, depth, follow=False) if depth <= self.max_depth else None
        if not task.follow:
            return None
        place = self.places[task.place]
        listing = task.kind in (Kind.SITEMAP, Kind.FEED)
        at_home = self._at_home(task, link.url, page_url)
        if link.kind in (Kind.SITEMAP, Kind.FEED):
            # A sitemap of sitemaps lies no deeper than the one; a feed's next page neither.
            return Found(link.url, link.kind, task.depth, follow=True) if at_home else None
        leads_on = place.kind in _LEADS_ANYWHERE and (listing or task.depth == 0)
        depth = task.depth if link.following and not listing else task.depth + 1
        if depth > self.max_depth and not (leads_on and depth == 1):
            return None
        if at_home:
            return Found(link.url, Kind.PAGE, depth, follow=depth < self.max_depth or link.following)
        return Found(link.url, Kind.PAGE, depth, follow=False) if leads_on else None

    def _at_home(self, task: Task, url: str, page_url: str) -> bool:
        host = urls.host_of(url)
        if host == urls.host_of(task.url) or (not task.page_url and host == urls.host_of(page_url)):
            return True
        site = self._sites[task.place]
        return bool(site) and urls.within(url, site)


def _site(place: Place) -> str:
    """Return the host whose pages belong to a place; ``www`` does not count."""
    host = urls.host_of(place.url) if "://" in place.url else place.url.strip("/").lower()
    return host.removeprefix("www.")
