"""Links and media of a page, wherever it puts them."""

import pytest

from crawler.extract import (
    Kind,
    Page,
    css_references,
    extract,
    json_ld_references,
    kind_of_type,
    largest_of_srcset,
    style_media,
)

URL = "https://site.example/a/page.html"


def page(html: str, content_type: str = "text/html; charset=utf-8") -> Page:
    return extract(html.encode(), URL, content_type)


def media(html: str) -> list[tuple[str, str]]:
    return [(medium.url, medium.found_as) for medium in page(html).media]


def links(html: str) -> list[tuple[str, Kind, bool]]:
    return [(link.url, link.kind, link.following) for link in page(html).links]


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<img src="x.jpg">', ("https://site.example/a/x.jpg", "img")),
        ('<img srcset="s.jpg 480w, l.jpg 1200w">', ("https://site.example/a/l.jpg", "img[srcset]")),
        (
            '<picture><source srcset="p.avif 2x"></picture>',
            ("https://site.example/a/p.avif", "source[srcset]"),
        ),
        ('<img data-src="/lazy.png">', ("https://site.example/lazy.png", "img[data-src]")),
        (
            '<img data-lazy-srcset="a.jpg 1x, b.jpg 2x">',
            ("https://site.example/a/b.jpg", "img[data-lazy-srcset]"),
        ),
        ('<div data-bg="//cdn.example/b.webp"></div>', ("https://cdn.example/b.webp", "div[data-bg]")),
        (
            "<div data-background=\"url('b.png')\"></div>",
            ("https://site.example/a/b.png", "div[data-background]"),
        ),
        ('<video src="v.mp4"></video>', ("https://site.example/a/v.mp4", "video")),
        ('<video poster="v.jpg"></video>', ("https://site.example/a/v.jpg", "video[poster]")),
        ('<video><source src="v.webm"></video>', ("https://site.example/a/v.webm", "source")),
        ('<audio src="s.ogg"></audio>', ("https://site.example/a/s.ogg", "audio")),
        ('<meta property="og:image" content="/o.jpg">', ("https://site.example/o.jpg", "og:image")),
        ('<meta property="og:video:url" content="/o.mp4">', ("https://site.example/o.mp4", "og:video")),
        ('<meta name="twitter:image" content="/t.jpg">', ("https://site.example/t.jpg", "twitter:image")),
        ('<link rel="image_src" href="/l.jpg">', ("https://site.example/l.jpg", "link[rel=image_src]")),
        (
            '<link rel="preload" as="image" href="/l.jpg">',
            ("https://site.example/l.jpg", "link[rel=preload]"),
        ),
        ('<div style="background:url(bg.jpg)"></div>', ("https://site.example/a/bg.jpg", "div[style]")),
        ('<style>.a{background-image:url("bg.jpg")}</style>', ("https://site.example/a/bg.jpg", "css")),
        ('<a href="book.pdf">Book</a>', ("https://site.example/a/book.pdf", "link")),
        ('<a href="/get?id=3" download>Get</a>', ("https://site.example/get?id=3", "link")),
        ('<embed src="m.mp3">', ("https://site.example/a/m.mp3", "embed")),
        ('<object data="p.png"></object>', ("https://site.example/a/p.png", "object")),
        ('<svg><image href="p.png"/></svg>', ("https://site.example/a/p.png", "image")),
        ('<table background="p.png"></table>', ("https://site.example/a/p.png", "table[background]")),
        ('<input type="image" src="p.png">', ("https://site.example/a/p.png", "input")),
        ('<amp-img src="p.png"></amp-img>', ("https://site.example/a/p.png", "amp-img")),
        (
            '<meta itemprop="contentUrl" content="v.mp4">',
            ("https://site.example/a/v.mp4", "itemprop:contenturl"),
        ),
        (
            "<script>p({file:'https:\\/\\/cdn.example\\/v.m3u8'})</script>",
            ("https://cdn.example/v.m3u8", "script"),
        ),
        ("<noscript><img src=n.jpg></noscript>", ("https://site.example/a/n.jpg", "img")),
        ('<iframe srcdoc="&lt;img src=i.jpg&gt;"></iframe>', ("https://site.example/a/i.jpg", "img")),
    ],
)
def test_media_are_found_where_pages_put_them(html: str, found: tuple[str, str]) -> None:
    assert found in media(html)


@pytest.mark.parametrize(
    "html",
    [
        '<img src="data:image/gif;base64,AAAA">',
        '<img src="">',
        '<a href="javascript:go()">x</a>',
        '<a href="mailto:a@site.example">x</a>',
        '<img src="logo.svg">',
        "<style>@font-face{src:url(f.woff2)}</style>",
        '<a href="app.exe">x</a>',
        '<img src="https://user:pass@site.example/x.jpg">',
        '<img src="http://[broken/x.jpg">',
        "",
        "\x00\x00",
        "<",
    ],
)
def test_what_is_no_medium_is_left_out(html: str) -> None:
    assert media(html) == []
    assert links(html) == []


def test_jsonld_names_media_and_players() -> None:
    html = """<script type="application/ld+json">{"@type": "VideoObject", "contentUrl": "https://c.example/v.mp4",
    "embedUrl": "https://p.example/e/1", "thumbnail": {"@type": "ImageObject", "url": "https://c.example/t.jpg"},
    "url": "https://site.example/watch"}</script>"""
    assert media(html) == [("https://c.example/v.mp4", "json-ld"), ("https://c.example/t.jpg", "json-ld")]
    assert links(html) == [("https://p.example/e/1", Kind.FRAME, False)]


@pytest.mark.parametrize(
    ("html", "uploader"),
    [
        ('<script type="application/ld+json">{"@type":"VideoObject","author":{"name":" Ann\\n B "}}</script>', "Ann B"),
        ('<script type="application/ld+json">[{"uploader":[{"url":"https://v.example/@ann"}]}]</script>',
         "https://v.example/@ann"),
        ('<meta name="author" content="Editor"><a rel="author" href="/u/7">Ann</a>', "Ann"),
        ('<a rel="nofollow author" href="/u/7"></a>', "https://site.example/u/7"),
        ('<meta property="article:author" content="https://s.example/bob"><meta name="author" content="Ed">',
         "https://s.example/bob"),
        ('<link rel="author" href="/humans.txt">', "https://site.example/humans.txt"),
        ('<meta name="author" content="  ">', ""),
        ('<script type="application/ld+json">{"author": 7, "image": {"creator": {"name": "Cy"}}}</script>', "Cy"),
    ],
)  # fmt: skip
def test_who_put_it_there_as_the_page_says(html: str, uploader: str) -> None:
    assert page(html).uploader == uploader
    assert page('<meta name="author" content="' + "x" * 999 + '">').uploader == "x" * 200


def test_broken_jsonld_names_nothing() -> None:
    assert json_ld_references('{"contentUrl": ') == []
    assert json_ld_references("[" * 5000) == []


def test_links_frames_feeds_and_the_next_page() -> None:
    html = """<a href="/b">B</a><a rel="next" href="?p=2">next</a><iframe src="https://p.example/e"></iframe>
    <link rel="alternate" type="application/rss+xml" href="/feed"><area href="/c">"""
    assert links(html) == [
        ("https://site.example/b", Kind.PAGE, False),
        ("https://site.example/a/page.html?p=2", Kind.PAGE, True),
        ("https://p.example/e", Kind.FRAME, False),
        ("https://site.example/feed", Kind.FEED, False),
        ("https://site.example/c", Kind.PAGE, False),
    ]


def test_base_title_canonical_and_refresh() -> None:
    found = page(
        '<base href="https://other.example/x/"><title> A \n title </title><link rel=canonical href="/c">'
        '<meta http-equiv=refresh content="0; url=next.html"><img src=y.jpg>'
    )
    assert (found.title, found.canonical) == ("A title", "https://other.example/c")
    assert [link.url for link in found.links] == ["https://other.example/x/next.html"]
    assert [medium.url for medium in found.media] == ["https://other.example/x/y.jpg"]


def test_what_a_page_says_about_a_picture() -> None:
    contexts = [
        m.context
        for m in page(
            '<img src=1.jpg alt="A  cat"><figure><div><img src=2.jpg></div><figcaption>Two <b>dogs</b></figcaption></figure>'
            "<a href=3.pdf>The book</a>"
        ).media
    ]
    assert contexts == ["A cat", "Two dogs", "The book"]


def test_style_sheets_are_to_be_read_as_well() -> None:
    found = page('<link rel="stylesheet" href="/s.css"><style>@import url("t.css");</style>').media
    assert [(m.url, m.kind) for m in found] == [
        ("https://site.example/s.css", Kind.STYLE),
        ("https://site.example/a/t.css", Kind.STYLE),
    ]
    sheet = b'/* url(no.jpg) */ .a{background:url(x.jpg)} @import "deep.css"; .b{background:image-set("y.png" 1x)}'
    assert [(m.url, m.kind) for m in style_media(sheet, "https://cdn.example/css/s.css")] == [
        ("https://cdn.example/css/x.jpg", Kind.MEDIA),
        ("https://cdn.example/css/y.png", Kind.MEDIA),
        ("https://cdn.example/css/deep.css", Kind.STYLE),
    ]
    assert css_references("a{background:url()}") == ([], [])


@pytest.mark.parametrize(
    ("value", "largest"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg 1x, b.jpg 1.5x", "b.jpg"),
        ("a,b.jpg 100w,c.jpg 50w", "a,b.jpg"),
        ("a.jpg 100w, b.jpg broken", "a.jpg"),
        ("data:image/gif;base64,AAA= 2000w, b.jpg 10w", "b.jpg"),
        ("a.jpg,", "a.jpg"),
        ("", ""),
        (" , , ", ""),
    ],
)
def test_the_largest_of_a_srcset(value: str, largest: str) -> None:
    assert largest_of_srcset(value) == largest


@pytest.mark.parametrize(
    ("encoding", "declared", "content_type"),
    [
        ("gb18030", '<meta charset="gb2312">', "text/html"),
        ("shift_jis", "", "text/html; charset=Shift_JIS"),
        ("utf-16", "", "text/html"),
        ("utf-8", "", "text/html"),
        ("gb18030", '<meta charset="gb2312">', "text/html; charset=utf-8"),
        ("utf-8", '<meta charset="gb2312">', "text/html; charset=utf-8"),
    ],
)
def test_pages_in_other_encodings(encoding: str, declared: str, content_type: str) -> None:
    body = f'<html><head>{declared}<title>作品</title></head><img src="图.jpg" alt="作品"></html>'
    if encoding == "shift_jis":
        body = body.replace("图", "品")
    found = extract(body.encode(encoding), URL, content_type)
    assert (found.title, found.media[0].context) == ("作品", "作品")


def test_a_page_that_was_cut_keeps_its_encoding() -> None:
    text = "作品" * 50
    body = f'<meta charset="gb2312"><title>作品</title><p>{text}'.encode()[:-1]
    assert extract(body, URL, "text/html; charset=utf-8").title == "作品"


def test_a_wrong_declaration_does_not_hide_media() -> None:
    found = extract(
        b'<meta charset=utf-8><img src="x.jpg" alt="\xff\xfe\xe9">', URL, "text/html; charset=nonsense"
    )
    assert [m.url for m in found.media] == ["https://site.example/a/x.jpg"]


def test_a_page_of_links_alone_is_bounded() -> None:
    found = page("".join(f'<a href="/{n}">x</a><img src="{n}.jpg">' for n in range(5_200)))
    assert (len(found.links), len(found.media)) == (5_000, 5_000)


@pytest.mark.parametrize(
    ("content_type", "url", "kind"),
    [
        ("text/html; charset=utf-8", "https://a.example/x.jpg", Kind.PAGE),
        ("image/png", "https://a.example/x", Kind.MEDIA),
        ("application/octet-stream", "https://a.example/x.mkv", Kind.MEDIA),
        ("application/vnd.apple.mpegurl", "https://a.example/x", Kind.PLAYLIST),
        ("text/plain", "https://a.example/x.m3u8?t=1", Kind.PLAYLIST),
        ("application/xml", "https://a.example/sitemap", Kind.FEED),
        ("", "https://a.example/x", Kind.PAGE),
    ],
)
def test_what_an_answer_is(content_type: str, url: str, kind: Kind) -> None:
    assert kind_of_type(content_type, url) is kind
