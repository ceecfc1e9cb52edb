"""Sitemaps, feeds and playlists, from their bytes."""

import gzip

import pytest

from crawler.extract import Kind
from crawler.feeds import FeedError, read_feed
from crawler.playlists import Piece, PlaylistError, read_playlist

URL = "https://site.example/feeds/x"


def names(body: str) -> tuple[list[tuple[str, Kind]], list[tuple[str, str]]]:
    feed = read_feed(body.encode(), URL)
    return [(link.url, link.kind) for link in feed.links], [(m.url, m.found_as) for m in feed.media]


def test_sitemaps_with_pictures_and_videos() -> None:
    links, media = names(
        """<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:i="g/image"
        xmlns:v="g/video"><url><loc> https://site.example/a </loc><i:image><i:loc>https://c.example/a.jpg</i:loc>
        </i:image><v:video><v:content_loc>https://c.example/v.mp4</v:content_loc>
        <v:player_loc>https://p.example/1</v:player_loc></v:video></url></urlset>"""
    )
    assert links == [("https://site.example/a", Kind.PAGE), ("https://p.example/1", Kind.FRAME)]
    assert media == [
        ("https://c.example/a.jpg", "sitemap image"),
        ("https://c.example/v.mp4", "sitemap video"),
    ]


def test_an_index_packed_as_a_file() -> None:
    body = b"<sitemapindex><sitemap><loc>https://site.example/s1.xml.gz</loc></sitemap></sitemapindex>"
    feed = read_feed(gzip.compress(body), URL)
    assert [(link.url, link.kind) for link in feed.links] == [
        ("https://site.example/s1.xml.gz", Kind.SITEMAP)
    ]


def test_a_list_of_urls_is_a_sitemap() -> None:
    assert names("https://site.example/a\nhttps://site.example/b\n")[0] == [
        ("https://site.example/a", Kind.PAGE),
        ("https://site.example/b", Kind.PAGE),
    ]


def test_rss_with_enclosures_and_quoted_pages() -> None:
    links, media = names(
        """<rss xmlns:media="m" xmlns:content="c"><channel><item><title>T</title><link>https://site.example/1</link>
        <enclosure url="https://c.example/e.mp3"/><media:content url="https://c.example/m.mp4"/>
        <media:group><media:thumbnail url="https://c.example/t.jpg"/></media:group>
        <content:encoded><![CDATA[<p><img src="/q.png"><a href="/no">x</a></p>]]></content:encoded></item></channel></rss>"""
    )
    assert links == [("https://site.example/1", Kind.PAGE)]
    assert media == [
        ("https://c.example/e.mp3", "enclosure"),
        ("https://c.example/m.mp4", "media:content"),
        ("https://c.example/t.jpg", "media:thumbnail"),
        ("https://site.example/q.png", "feed img"),
    ]


def test_who_put_entries_there() -> None:
    rss = """<rss xmlns:dc="d" xmlns:itunes="i"><channel>
        <item><dc:creator> Ann  B </dc:creator><enclosure url="https://c.example/1.mp3"/></item>
        <item><itunes:author>Bob</itunes:author><enclosure url="https://c.example/2.mp3"/></item>
        <item><enclosure url="https://c.example/3.mp3"/></item></channel></rss>"""
    atom = """<feed xmlns="a"><author><name>Site</name></author>
        <entry><author><uri>https://s.example/cy</uri></author><link rel="enclosure" href="https://c.example/4.mp3"/>
        </entry><entry><link rel="enclosure" href="https://c.example/5.mp3"/></entry></feed>"""
    assert [m.uploader for m in read_feed(rss.encode(), URL).media] == ["Ann B", "Bob", ""]
    assert [m.uploader for m in read_feed(atom.encode(), URL).media] == ["https://s.example/cy", "Site"]


def test_atom_with_its_next_page() -> None:
    feed = read_feed(
        b"""<feed xmlns="http://www.w3.org/2005/Atom"><link rel="next" href="?page=2"/><entry><title>T</title>
        <link href="/1"/><link rel="enclosure" href="/e.mp3"/><content type="html">&lt;img src="/c.png"&gt;</content>
        </entry></feed>""",
        URL,
    )
    assert [(link.url, link.kind, link.following) for link in feed.links] == [
        ("https://site.example/feeds/x?page=2", Kind.FEED, True),
        ("https://site.example/1", Kind.PAGE, False),
    ]
    assert [m.url for m in feed.media] == ["https://site.example/e.mp3", "https://site.example/c.png"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><p>Not found</p></html>",
        b"hello\nworld",
        b"\x1f\x8bbroken",
        gzip.compress(b" " * 200_000),
        b"<",
    ],
)
def test_what_is_no_feed_is_an_error(body: bytes) -> None:
    with pytest.raises(FeedError):
        read_feed(body, URL, limit=100_000)


def test_entities_are_not_expanded() -> None:
    body = """<!DOCTYPE r [<!ENTITY a "https://site.example/x"><!ENTITY f SYSTEM "file:///etc/passwd">]>
    <urlset><url><loc>&a;</loc></url><url><loc>&f;</loc></url><url><loc>https://site.example/y</loc></url></urlset>"""
    assert names(body)[0] == [("https://site.example/y", Kind.PAGE)]


def test_hls_takes_the_cheapest_variant_that_is_high_enough() -> None:
    master = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=256x144
v144.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=3000000,RESOLUTION=1920x1080,CODECS="a,b"
v1080.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360
v360.m3u8
"""
    assert read_playlist(master, "https://c.example/h/m.m3u8").playlist == "https://c.example/h/v360.m3u8"


def test_hls_pieces_with_header_and_ranges() -> None:
    text = """#EXTM3U
#EXT-X-MAP:URI="init.mp4"
#EXTINF:4.0,
#EXT-X-BYTERANGE:100@50
a.mp4
#EXTINF:2.5,
#EXT-X-BYTERANGE:30
a.mp4
#EXTINF:3,
b.mp4
"""
    base = "https://c.example/h/"
    assert read_playlist(text, base + "m.m3u8").pieces == (
        Piece(base + "init.mp4"),
        Piece(base + "a.mp4", 50, 100, 4.0),
        Piece(base + "a.mp4", 150, 30, 2.5),
        Piece(base + "b.mp4", seconds=3.0),
    )


def mpd(inside: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT9S"><Period>'
        f"<BaseURL>d/</BaseURL>{inside}</Period></MPD>"
    )


def test_dash_by_number_and_by_time() -> None:
    template = '<SegmentTemplate initialization="$RepresentationID$/i.mp4" media="$RepresentationID$/$Number%03d$.m4s" duration="4" startNumber="1"/>'
    group = (
        '<AdaptationSet mimeType="audio/mp4"><Representation id="a" bandwidth="1"/></AdaptationSet>'
        f'<AdaptationSet mimeType="video/mp4">{template}<Representation id="hi" height="1080" bandwidth="9"/>'
        '<Representation id="lo" height="360" bandwidth="3"/></AdaptationSet>'
    )
    base = "https://c.example/d/lo/"
    assert [piece.url for piece in read_playlist(mpd(group), "https://c.example/m.mpd").pieces] == [
        base + "i.mp4",
        base + "001.m4s",
        base + "002.m4s",
        base + "003.m4s",
    ]
    timeline = (
        '<AdaptationSet mimeType="video/mp4"><Representation id="v"><SegmentTemplate media="$Time$.m4s" timescale="10">'
        '<SegmentTimeline><S t="5" d="20" r="1"/><S d="10"/></SegmentTimeline></SegmentTemplate></Representation>'
        "</AdaptationSet>"
    )
    found = read_playlist(mpd(timeline), "https://c.example/m.mpd").pieces
    assert [(piece.url.rpartition("/")[2], piece.seconds) for piece in found] == [
        ("5.m4s", 2.0),
        ("25.m4s", 2.0),
        ("45.m4s", 1.0),
    ]


def test_dash_as_one_file_and_as_a_list() -> None:
    one = '<AdaptationSet mimeType="video/mp4"><Representation><BaseURL>v.mp4</BaseURL></Representation></AdaptationSet>'
    assert read_playlist(mpd(one), "https://c.example/m.mpd").pieces == (Piece("https://c.example/d/v.mp4"),)
    listed = (
        '<AdaptationSet mimeType="video/mp4"><Representation><BaseURL>v.mp4</BaseURL><SegmentList duration="2">'
        '<Initialization range="0-9"/><SegmentURL mediaRange="10-19"/></SegmentList></Representation></AdaptationSet>'
    )
    assert read_playlist(mpd(listed), "https://c.example/m.mpd").pieces == (
        Piece("https://c.example/d/v.mp4", 0, 10),
        Piece("https://c.example/d/v.mp4", 10, 10, 2.0),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "#EXTM3U",
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:1,\na.ts',
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-ENDLIST",
        "<MPD><Period/></MPD>",
        "<MPD></MPD>",
        "<MPD><Period><AdaptationSet><ContentProtection/><Representation/></AdaptationSet></Period></MPD>",
    ],
)
def test_streams_that_cannot_be_played_are_an_error(text: str) -> None:
    with pytest.raises(PlaylistError):
        read_playlist(text, "https://c.example/m")


def test_a_stream_without_end_is_bounded() -> None:
    text = "#EXTM3U\n" + "#EXTINF:1,\na.ts\n" * 5_000
    assert len(read_playlist(text, "https://c.example/m").pieces) == 2_000
    endless = (
        '<AdaptationSet><SegmentTemplate media="$Number$" duration="1"/><Representation/></AdaptationSet>'
    )
    text = mpd(endless).replace(' mediaPresentationDuration="PT9S"', "")
    assert len(read_playlist(text, "https://c.example/m").pieces) == 2_000
