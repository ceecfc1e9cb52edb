"""The pages, asked without a browser: who may see what, forged forms, hostile texts, ranges of media."""

import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from indexers.fingerprint import SpanUnit
from indexers.modality import WHOLE, AlignedRegion, AlignedSegment
from indexers.previews import Facts, Kind
from service.previewed import NewPreview, PreviewState
from service.reviewed import Case, CaseState, Outcome
from service.web.filters import read_query
from tests.pages import Pages, pages_in, picture

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'"
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


class Browser:
    """Somebody at the pages: remembers cookies, and fills forms in."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.token = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        answer = await self.client.get(
            path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        found = TOKEN.search(answer.text) if "html" in answer.headers.get("content-type", "") else None
        self.token = found[1] if found else self.token
        return answer

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return await self.client.post(
            path,
            data={"form_token": self.token, **(fields or {})},
            headers={name.replace("_", "-"): text for name, text in headers.items()},
        )

    async def sign_in(self, key: str, onward: str = "/") -> httpx.Response:
        await self.get("/sign-in")
        return await self.post("/sign-in", {"key": key, "next": onward})


@asynccontextmanager
async def visitor(pages: Pages, name: str = "", *, scheme: str = "http") -> AsyncIterator[Browser]:
    """Somebody, signed in with a key."""
    transport = httpx.ASGITransport(app=pages.app)
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://testserver") as client:
        browser = Browser(client)
        if name:
            assert (await browser.sign_in(pages.keys[name])).status_code == 303
            await browser.get("/settings")
        yield browser


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    async with pages_in(tmp_path) as made:
        yield made


def seeded(pages: Pages, *, owner: str = "studio", site: str = "x.example", title: str = "Ernte") -> Case:
    """A case of a picture with a preview on both sides."""
    files = picture(Image.new("RGB", (64, 48), (200, 120, 40)))
    work = pages.add_work(title, owner=owner, files=files)
    pages.add_report(work, site, files=files, regions=[AlignedRegion(WHOLE, WHOLE, "identity")])
    return pages.case_of(work, site)


# Signing in


async def test_a_key_opens_the_pages_and_sign_out_shuts_them(pages: Pages) -> None:
    async with visitor(pages) as browser:
        for path in ("/", "/queue", "/cases/x", "/works", "/lists", "/events", "/settings"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")
        for wrong in ("", "copyhound_0_1", "nonsense", pages.keys["admin"][:-1] + "x"):
            assert (await browser.sign_in(wrong)).status_code == 401
        assert (await browser.sign_in(pages.keys["platform"])).status_code == 403
        answer = await browser.sign_in(pages.keys["studio"], "/queue?state=all")
        assert (answer.status_code, answer.headers["location"]) == (303, "/queue?state=all")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert (await browser.get("/queue")).status_code == 200
        await browser.post("/sign-out")
        assert (await browser.get("/queue")).status_code == 303


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example/", "/\\evil.example", "/a b", "x"]
)
async def test_signing_in_never_leads_elsewhere(pages: Pages, onward: str) -> None:
    async with visitor(pages) as browser:
        answer = await browser.sign_in(pages.keys["admin"], onward)
        assert answer.headers["location"] == "/"


async def test_who_guesses_keys_has_to_wait(pages: Pages) -> None:
    async with visitor(pages) as browser:
        for _ in range(10):
            assert (await browser.sign_in("copyhound_0_1")).status_code == 401
        assert (await browser.sign_in(pages.keys["admin"])).status_code == 429


async def test_a_revoked_key_ends_its_sessions(pages: Pages) -> None:
    async with visitor(pages, "investigator") as browser:
        assert (await browser.get("/")).status_code == 200
        pages.store.revoke_key(pages.ids["investigator"], datetime.now(UTC))
        assert (await browser.get("/")).status_code == 303
        assert (await browser.sign_in(pages.keys["investigator"])).status_code == 401


async def test_signing_out_everywhere_ends_the_other_sessions_of_the_key_alone(pages: Pages) -> None:
    async with (
        visitor(pages, "admin") as one,
        visitor(pages, "admin") as two,
        visitor(pages, "studio") as other,
    ):
        await one.post("/sign-out", {"everywhere": "yes"})
        assert (await two.get("/")).status_code == 303
        assert (await other.get("/")).status_code == 200


@pytest.mark.parametrize("limits", [{"idle": timedelta(0)}, {"longest": timedelta(0)}])
async def test_sessions_end_by_themselves(tmp_path: Path, limits: dict[str, timedelta]) -> None:
    async with pages_in(tmp_path, **limits) as pages, visitor(pages) as browser:  # type: ignore[arg-type]
        await browser.sign_in(pages.keys["admin"])
        assert (await browser.get("/")).status_code == 303


async def test_without_keys_where_that_is_allowed(tmp_path: Path) -> None:
    async with pages_in(tmp_path, allow_anonymous=True) as pages, visitor(pages) as browser:
        assert "asks nobody for a key" in (await browser.get("/sign-in")).text
        assert (await browser.post("/sign-in", {"anonymous": "yes"})).status_code == 303
        assert "all works" in (await browser.get("/settings")).text


async def test_with_https_the_session_is_bound_to_it(tmp_path: Path) -> None:
    async with pages_in(tmp_path, secure=True) as pages, visitor(pages, scheme="https") as browser:
        answer = await browser.sign_in(pages.keys["admin"])
        assert answer.headers["set-cookie"].startswith("__Host-copyhound_session=")
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_the_database_holds_no_token(pages: Pages, tmp_path: Path) -> None:
    async with visitor(pages, "admin") as browser:
        token = browser.client.cookies["copyhound_session"].encode()
    files = [path.read_bytes() for path in tmp_path.glob("copyhound.db*")]  # noqa: ASYNC240 - small files
    assert files
    assert not any(token in content for content in files)


# Forged requests


async def test_a_form_without_this_sessions_token_does_nothing(pages: Pages) -> None:
    case = seeded(pages)
    fields = {"outcome": "infringing", "revision": str(case.revision)}
    async with visitor(pages, "admin") as browser, visitor(pages, "investigator") as other:
        for token in ("", "0" * 64, other.token):
            answer = await browser.client.post(
                f"/cases/{case.id}/decide", data={**fields, "form_token": token}
            )
            assert answer.status_code == 403
        assert pages.case_of_id(case.id).state is CaseState.OPEN
        assert (await browser.post(f"/cases/{case.id}/decide", fields)).status_code == 303
        assert pages.case_of_id(case.id).state is CaseState.DECIDED


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}]
)
async def test_other_sites_cannot_make_a_browser_post(pages: Pages, headers: dict[str, str]) -> None:
    async with visitor(pages, "admin") as browser:
        assert (await browser.post("/sign-out", None, **headers)).status_code == 403
        assert (await browser.get("/")).status_code == 200


async def test_requests_for_other_hosts_are_refused(pages: Pages) -> None:
    async with visitor(pages) as browser:
        assert (await browser.get("/sign-in", host="evil.example")).status_code == 421


async def test_no_form_is_read_without_end(pages: Pages) -> None:
    async with visitor(pages, "admin") as browser:
        answer = await browser.post("/views", {"title": "x" * 2_000_000})
        assert answer.status_code == 413


# What others own


async def test_an_owner_sees_nothing_of_another(pages: Pages) -> None:
    case, own = seeded(pages), seeded(pages, owner="mint")
    report, work = pages.report_of(case), pages.store.get_work(case.work_id)
    assert work.references is not None
    reference, listed = work.references[0].id, pages.lists["studio"].id
    fields = {"outcome": "licensed", "revision": str(case.revision), "number": "1", "text": "x", "note": ""}
    async with visitor(pages, "mint") as browser:
        for path in (
            f"/cases/{case.id}",
            f"/cases/{case.id}/thumbnail/work",
            f"/reports/{report}/work/picture",
            f"/reports/{report}/found/picture",
            f"/reports/{report}/print",
            f"/reports/{report}/json",
            f"/reports/{report}/pdf",
            f"/cases/{case.id}/print",
            f"/cases/{case.id}/json",
            f"/cases/{case.id}/pdf",
            f"/references/{reference}/picture",
            f"/works/{work.id}",
            f"/lists/{listed}",
        ):
            assert (await browser.get(path)).status_code == 404, path
        await browser.get("/settings")
        for action in ("decide", "undo", "lease", "release", "comment", "plan"):
            assert (await browser.post(f"/cases/{case.id}/{action}", fields)).status_code == 404, action
        assert (await browser.post(f"/reports/{report}/bundle")).status_code == 404
        assert (await browser.post(f"/cases/{case.id}/bundle")).status_code == 404
        assert (await browser.post("/suppress", {"kind": "work", "subject": str(work.id)})).status_code == 404
        answer = await browser.post(
            "/queue/batch",
            {
                "case": [f"{case.id}~{case.revision}", f"{own.id}~{own.revision}"],
                "outcome": "licensed",
                "really": "yes",
            },
        )
        assert answer.status_code == 200
        assert pages.case_of_id(case.id).state is CaseState.OPEN
        assert pages.case_of_id(own.id).state is CaseState.DECIDED
        for path in ("/", "/queue?state=all", "/works", "/lists", "/events"):
            shown = (await browser.get(path)).text
            assert str(case.id) not in shown
            assert "List of studio" not in shown
            assert str(work.id) not in shown
    async with visitor(pages, "investigator") as browser:
        assert (await browser.get(f"/reports/{report}/work/picture")).status_code == 200


async def test_other_cases_of_the_same_uploader(pages: Pages) -> None:
    first, second, third, foreign = (
        pages.add_work(title, owner=owner)
        for title, owner in (("One", "studio"), ("Two", "studio"), ("Three", "studio"), ("Four", "mint"))
    )
    for work, site, uploader in (
        (first, "tube.example", "Ann <b>"),
        (second, "tube.example", "Ann <b>"),
        (foreign, "tube.example", "Ann <b>"),
        (third, "other.example", "Ann <b>"),
    ):
        pages.add_report(work, site, uploader=uploader)
    case = pages.case_of(first, "tube.example")
    heading = "Other cases of the uploader “Ann &lt;b&gt;”"
    async with visitor(pages, "studio") as browser:
        shown = (await browser.get(f"/cases/{case.id}")).text
        assert "Put there, as the page says, by Ann &lt;b&gt;." in shown
        listed = shown.partition(heading)[2].partition("</ul>")[0]
        assert re.findall(r'<a href="/cases/[^"]+">([^<]+)</a>', listed) == ["Two"]
        document = json.loads((await browser.get(f"/reports/{pages.report_of(case)}/json")).text)
        assert [one["uploader"] for one in document["sightings"]] == ["Ann <b>"]
        alone = pages.case_of(third, "other.example")
        assert heading not in (await browser.get(f"/cases/{alone.id}")).text
    async with visitor(pages, "investigator") as browser:
        shown = (await browser.get(f"/cases/{case.id}")).text
        listed = shown.partition(heading)[2].partition("</ul>")[0]
        assert sorted(re.findall(r'<a href="/cases/[^"]+">([^<]+)</a>', listed)) == ["Four", "Two"]


# Hostile texts


async def test_no_text_of_others_becomes_markup(pages: Pages) -> None:
    work = pages.add_work(HOSTILE, filename=HOSTILE, labels={HOSTILE[:40]: HOSTILE})
    pages.add_report(
        work, "x.example", title=HOSTILE, page=f"?q={HOSTILE}", media_url=f"javascript:alert(1)//{HOSTILE}"
    )
    (case,) = pages.cases()
    pages.add_list("studio", HOSTILE)
    report = pages.report_of(case)
    async with visitor(pages, "admin") as browser:
        await browser.get("/settings")
        await browser.post(f"/cases/{case.id}/comment", {"text": HOSTILE})
        await browser.post("/views", {"title": HOSTILE, "in": "state=all"})
        revision = str(pages.case_of_id(case.id).revision)
        await browser.post(
            f"/cases/{case.id}/decide",
            {"outcome": "infringing", "note": HOSTILE, "revision": revision, "stay": "yes"},
        )
        for path in (
            f"/cases/{case.id}",
            "/queue?state=all",
            f"/queue?state=all&q={html.escape('<script>')}&site=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
            f"/works/{work.id}",
            "/works",
            "/lists",
            f"/lists/{pages.lists['studio'].id}",
            "/events",
            "/events?actor=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
            "/",
            f"/reports/{report}/print",
            "/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
            "/%3Cscript%3Ealert(1)%3C/script%3E",
        ):
            shown = (await browser.get(path)).text
            assert "<script>alert" not in shown, path
            assert "<img src=x" not in shown, path
            assert "javascript:alert(1)//" not in re.findall(r'href="([^"]*)', shown), path
            assert "{{7*7}}" in shown or "49'" not in shown, path
        assert "alert(1)" in (await browser.get(f"/cases/{case.id}")).text


async def test_pages_run_and_style_nothing_inline(pages: Pages) -> None:
    case = seeded(pages)
    async with visitor(pages, "admin") as browser:
        for path in ("/", "/queue", f"/cases/{case.id}", "/works", "/lists", "/events", "/settings"):
            answer = await browser.get(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]* src=)|<style|<[^>]+ (style|on[a-z]+)=", answer.text), path


# Media


async def test_media_are_served_by_ranges(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 4
    work = pages.add_work("Film", modality="video", files={Kind.CLIP: (content, Facts(32, 32, 5.0))})
    pages.add_report(work, "x.example", modality="video")
    path = f"/reports/{pages.report_of(pages.cases()[0])}/work/clip"
    async with visitor(pages, "studio") as browser:
        whole = await browser.get(path)
        assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
        assert whole.headers["content-type"] == "video/webm"
        assert "sandbox" in whole.headers["content-security-policy"]
        assert whole.headers["content-disposition"] == 'inline; filename="clip.webm"'
        monkeypatch.setattr("service.web.media._OPEN_BYTES", 100)
        for wanted, start, end in (
            ("bytes=100-", 100, 200),
            ("bytes=0-0", 0, 1),
            ("bytes=10-19", 10, 20),
            ("bytes=1000-", 1000, 1024),
            ("bytes=-24", 1000, 1024),
            ("bytes=-9999", 0, 1024),
            ("bytes=1000-99999", 1000, 1024),
        ):
            part = await browser.get(path, range=wanted)
            assert (part.status_code, part.content) == (206, content[start:end]), wanted
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/1024"
        for beyond in ("bytes=1024-", "bytes=9999-10000", "bytes=-0", "bytes=20-10"):
            refused = await browser.get(path, range=beyond)
            assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */1024"), beyond
        for other in ("bytes=0-1,4-5", "pages=1-2", "bytes=x-y", f"bytes={'9' * 40}-"):
            assert (await browser.get(path, range=other)).status_code == 200, other
        etag = whole.headers["etag"]
        assert (await browser.get(path, if_none_match=etag)).status_code == 304
        assert (await browser.get(path, range="bytes=0-3", if_range='"other"')).status_code == 200
        assert (await browser.get(path, range="bytes=0-3", if_range=etag)).status_code == 206


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (PreviewState.PENDING, "still being made"),
        (PreviewState.FAILED, "Reading it took longer than the server allows."),
        (PreviewState.NOT_KEPT, "asked for no previews"),
    ],
)
async def test_a_case_says_why_there_is_nothing_to_see(pages: Pages, state: PreviewState, said: str) -> None:
    reason = "MEDIA_TIMEOUT: too slow" if state is PreviewState.FAILED else ""
    work = pages.add_work("Ernte", preview=NewPreview(state, reason))
    pages.add_report(work, "x.example", files=picture(Image.new("RGB", (30, 20))))
    (case,) = pages.cases()
    async with visitor(pages, "admin") as browser:
        shown = await browser.get(f"/cases/{case.id}")
        assert said in shown.text
        assert (await browser.get(f"/reports/{pages.report_of(case)}/work/picture")).status_code == 404


async def test_a_case_stays_when_its_work_and_files_are_gone(pages: Pages, tmp_path: Path) -> None:
    case = seeded(pages)
    for path in (tmp_path / "previews").rglob("*"):
        if path.is_file():
            path.unlink()
    report = pages.report_of(case)
    async with visitor(pages, "admin") as browser:
        assert (await browser.get(f"/reports/{report}/work/picture")).status_code == 404
        with pages.store.transaction() as transaction:
            transaction.delete_work(case.work_id, revision=None)
        assert (await browser.get(f"/works/{case.work_id}")).status_code == 404
        shown = await browser.get(f"/cases/{case.id}")
        assert shown.status_code == 200
        assert "The media was deleted." in shown.text


async def test_media_of_unknown_kinds_and_sides_are_not_there(pages: Pages) -> None:
    report = pages.report_of(seeded(pages))
    async with visitor(pages, "admin") as browser:
        for path in ("work/svg", "elsewhere/picture", "work/..%2f..%2flock", "found/clip"):
            assert (await browser.get(f"/reports/{report}/{path}")).status_code == 404, path


# Deciding


async def test_a_decision_leads_to_the_next_case_and_can_be_undone(pages: Pages) -> None:
    first, second = seeded(pages, title="One"), seeded(pages, title="Two")
    async with visitor(pages, "investigator") as browser:
        answer = await browser.post("/queue/next", {"in": "order=newest"})
        taken = pages.case_of_id(second.id)
        assert answer.headers["location"].startswith(f"/cases/{second.id}")
        assert taken.held_by(datetime.now(UTC)) == pages.ids["investigator"]
        await browser.post("/queue/next", {"after": str(second.id)})
        held = {one.id: one.held_by(datetime.now(UTC)) for one in pages.cases()}
        assert held == {first.id: pages.ids["investigator"], second.id: None}
        await browser.post("/queue/next", {"after": str(first.id)})
        answer = await browser.post(
            f"/cases/{second.id}/decide",
            {"outcome": "infringing", "reason": "EXCERPT", "note": "a\r\nb", "revision": str(taken.revision)},
        )
        assert answer.headers["location"].startswith(f"/cases/{first.id}")
        decided = pages.case_of_id(second.id)
        assert decided.decision is not None
        assert decided.decision.ruling.outcome is Outcome.INFRINGING
        assert decided.decision.ruling.note == "a\nb"
        shown = await browser.get(answer.headers["location"])
        assert f"/cases/{second.id}/undo" in shown.text
        await browser.post(f"/cases/{second.id}/undo", {"number": str(decided.decision.number)})
        assert pages.case_of_id(second.id).state is CaseState.OPEN
        assert "Decision undone" in (await browser.get(f"/cases/{second.id}")).text


async def test_two_people_cannot_decide_the_same_case(pages: Pages) -> None:
    case = seeded(pages)
    fields = {"outcome": "licensed", "reason": "PARTNER", "note": "typed", "revision": str(case.revision)}
    async with visitor(pages, "admin") as one, visitor(pages, "investigator") as two:
        await one.post(f"/cases/{case.id}/lease")
        answer = await two.post(f"/cases/{case.id}/decide", fields)
        assert answer.status_code == 409
        assert "Somebody else has this case." in answer.text
        assert ">typed</textarea>" in answer.text
        assert re.search(r'value="licensed"[^>]* checked', answer.text)
        assert re.search(r'value="PARTNER" selected', answer.text)
        assert (await one.post(f"/cases/{case.id}/decide", fields)).status_code == 303
        answer = await two.post(
            f"/cases/{case.id}/decide", {**fields, "outcome": "infringing", "reason": "EXCERPT"}
        )
        assert answer.status_code == 409
        assert "since you looked" in answer.text
        decided = pages.case_of_id(case.id).decision
        assert decided is not None
        assert decided.actor == pages.ids["admin"]


async def test_an_expired_session_leads_back_to_the_case(pages: Pages) -> None:
    case = seeded(pages)
    async with visitor(pages, "admin") as browser:
        pages.end_sessions("admin")
        here = f"http://testserver/cases/{case.id}?in=state%3Dall"
        answer = await browser.post(f"/cases/{case.id}/decide", {"outcome": "licensed"}, referer=here)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/sign-in?next=%2Fcases%2F{case.id}%3Fin%3Dstate%253Dall"
        answer = await browser.post(f"/cases/{case.id}/lease", hx_request="true", referer=here)
        assert (answer.status_code, "hx-redirect" in answer.headers) == (401, True)
        assert pages.case_of_id(case.id).state is CaseState.OPEN


async def test_a_batch_is_previewed_then_decided_then_undone(pages: Pages) -> None:
    cases = [seeded(pages, title=f"Work {number}") for number in range(4)]
    chosen = [f"{case.id}~{case.revision}" for case in cases]
    async with visitor(pages, "admin") as browser, visitor(pages, "investigator") as other:
        await other.post(f"/cases/{cases[0].id}/lease")
        fields = {"case": chosen, "outcome": "wrong_match", "note": "a logo"}
        preview = await browser.post("/queue/batch", fields)
        assert "Decide 3 cases?" in preview.text
        assert "Somebody else has this case." in preview.text
        assert len(pages.cases()) == sum(case.state is CaseState.OPEN for case in pages.cases())
        done = await browser.post("/queue/batch", {**fields, "really": "yes"})
        assert "3 cases decided" in done.text
        assert sum(case.state is CaseState.DECIDED for case in pages.cases()) == 3
        undo = re.search(r"/batches/[0-9a-f-]{36}/undo", done.text)
        assert undo
        answer = await browser.post(undo[0])
        assert answer.headers["location"] == "/queue?undone=3"
        assert all(case.state is CaseState.OPEN for case in pages.cases())
        assert "3 decisions were undone." in (await browser.get("/queue?undone=3")).text


@pytest.mark.parametrize(
    ("action", "fields", "status", "said"),
    [
        ("decide", {"outcome": "guilty", "revision": "1"}, 400, "请选择裁定结果。"),
        ("decide", {"outcome": "licensed", "revision": "x"}, 400, ""),
        ("decide", {"outcome": "licensed", "reason": "PARODY", "revision": "1"}, 400, "属于另一种裁定"),
        ("decide", {"outcome": "licensed", "revision": "999"}, 409, ""),
        ("decide", {"outcome": "licensed", "note": "x" * 10_001, "revision": "1"}, 400, "10,000 个字符"),
        ("comment", {"text": " "}, 400, "评论须有"),
        ("plan", {"assignee": "nobody"}, 400, "有权裁定此案件的人"),
        ("plan", {"due": "tomorrow"}, 400, "2026-12-31"),
        ("undo", {"number": "7"}, 404, ""),
    ],
)
async def test_wrong_forms_change_nothing(
    pages: Pages, action: str, fields: dict[str, str], status: int, said: str
) -> None:
    """What is wrong is said in the visitor's language, without a word of another."""
    case = seeded(pages)
    async with visitor(pages, "admin") as browser:
        await browser.post("/settings", {"language": "zh"})
        answer = await browser.post(f"/cases/{case.id}/{action}", fields)
        assert answer.status_code == status
        assert said in answer.text
        problem = re.search(r'role="alert"[^>]*>(.*?)</div>|<h1>(.*?)</section>', answer.text, re.DOTALL)
        assert problem
        told = re.sub(r"<a .*|<[^>]*>", "", problem[1] or problem[2], flags=re.DOTALL)
        assert re.search("[\u4e00-\u9fff]", told)
        assert not re.search("[a-z]{3}", told), told
        assert replace(pages.case_of_id(case.id), lease=None) == case


async def test_plans_comments_and_views_are_kept(pages: Pages) -> None:
    case = seeded(pages)
    async with visitor(pages, "admin") as browser:
        await browser.post(
            f"/cases/{case.id}/plan", {"assignee": pages.ids["investigator"], "due": "2020-01-31"}
        )
        await browser.post(f"/cases/{case.id}/comment", {"text": "asked the owner"})
        shown = (await browser.get(f"/cases/{case.id}")).text
        assert "asked the owner" in shown
        assert "2020-01-31" in shown
        assert case.work_title in (await browser.get("/queue?due=overdue")).text
        await browser.post("/views", {"title": "Late ones", "in": "due=overdue&nonsense=1"})
        assert 'href="/queue?due=overdue"' in (await browser.get("/queue")).text
        assert "Late ones" in (await browser.get("/queue")).text
    async with visitor(pages, "studio") as browser:
        assert "Late ones" not in (await browser.get("/queue")).text


async def test_what_floods_the_queue_is_suppressed_in_one_action(pages: Pages) -> None:
    work = pages.add_work("Logo")
    for number in range(12):
        pages.add_report(work, f"s{number}.example")
    async with visitor(pages, "admin") as browser:
        chosen = [f"{case.id}~{case.revision}" for case in pages.cases()]
        await browser.post("/queue/batch", {"case": chosen, "outcome": "wrong_match", "really": "yes"})
        shown = (await browser.get("/")).text
        found = re.search(
            r'name="kind" value="(\w+)"><input type="hidden" name="subject" value="([0-9a-f-]{36})">', shown
        )
        assert found
        assert "12 of 12 decided matches were wrong" in shown
        await browser.post("/suppress", {"kind": found[1], "subject": found[2]})
        assert "Let it count again" in (await browser.get("/")).text
        await browser.post("/suppress", {"kind": found[1], "subject": found[2], "undo": "yes"})
        assert "Let it count again" not in (await browser.get("/")).text


# What is shown


async def test_every_page_speaks_chinese(pages: Pages) -> None:
    case = seeded(pages)
    async with visitor(pages, "admin") as browser:
        assert 'lang="en"' in (await browser.get("/")).text
        assert 'lang="zh-Hans"' in (await browser.get("/", accept_language="zh-CN,zh;q=0.9")).text
        await browser.post("/settings", {"language": "zh", "blur": "all", "theme": "dark", "keys": "off"})
        for path in (
            "/",
            "/queue",
            f"/cases/{case.id}",
            "/works",
            "/lists",
            "/events",
            "/settings",
            "/nowhere",
        ):
            shown = (await browser.get(path)).text
            assert 'lang="zh-Hans" class="theme-dark"' in shown
            assert 'data-keys="off"' in shown
            assert re.search(r"<h1>(<a[^>]*>)?[^<]*[\u4e00-\u9fff]", shown) or case.work_title in shown, path
        assert (await browser.post("/settings", {"language": "xx"})).status_code == 400


async def test_sensitive_works_are_blurred_until_asked_for(pages: Pages) -> None:
    files = picture(Image.new("RGB", (30, 20)))
    work = pages.add_work("Retina", files=files, labels={"sensitive": "yes"})
    pages.add_report(work, "x.example", files=files)
    plain = seeded(pages)
    async with visitor(pages, "admin") as browser:
        (case,) = (one for one in pages.cases() if one.work_id == work.id)
        assert "data-reveal" in (await browser.get(f"/cases/{case.id}")).text
        assert "data-reveal" not in (await browser.get(f"/cases/{plain.id}")).text
        await browser.get("/settings")
        await browser.post("/settings", {"blur": "none"})
        assert "data-reveal" not in (await browser.get(f"/cases/{case.id}")).text


async def test_passages_of_texts_stand_side_by_side(pages: Pages) -> None:
    text = "Es war einmal ein <b>König</b>, der hatte zwölf Töchter."
    files = {Kind.TEXT: (text.encode(), Facts(characters=len(text)))}
    work = pages.add_work("Märchen", filename="m.txt", modality="text", files=files)
    segment = AlignedSegment((14.0, 34.0), (14.0, 34.0), 1.0, SpanUnit.CHARACTER)
    pages.add_report(work, "x.example", modality="text", files=files, segments=[segment])
    (case,) = pages.cases()
    async with visitor(pages, "admin") as browser:
        shown = (await browser.get(f"/cases/{case.id}")).text
        assert shown.count(f"<mark>{html.escape(text[14:34])}</mark>") == 2


async def test_pages_of_the_queue_follow_each_other(pages: Pages) -> None:
    work = pages.add_work("Ernte")
    for number in range(55):
        pages.add_report(work, f"s{number:02}.example")
    async with visitor(pages, "admin") as browser:
        first = (await browser.get("/queue?order=probable")).text
        more = re.search(r'hx-get="([^"]+)" hx-target="closest tr"', first)
        assert more
        second = (await browser.get(html.unescape(more[1]))).text
        sites = re.compile(r"s\d\d\.example")
        found = set(sites.findall(first)) | set(sites.findall(second))
        assert len(found) == 55
        assert 'hx-target="closest tr"' not in second
        assert "s07.example" in (await browser.get("/queue?q=s07")).text
        assert "s08.example" not in (await browser.get("/queue?q=s07")).text


async def test_evidence_is_handed_over(pages: Pages) -> None:
    case = seeded(pages)
    pages.store.rename_key(pages.ids["studio"], "Ida <b>Weiß</b>")
    async with visitor(pages, "studio") as browser:
        fields = {"outcome": "licensed", "revision": str(case.revision), "stay": "yes"}
        await browser.post(f"/cases/{case.id}/decide", fields)
        for path in (f"/reports/{pages.report_of(case)}", f"/cases/{case.id}"):
            printed = await browser.get(f"{path}/print")
            assert "script-src" not in printed.headers["content-security-policy"]
            assert "Ernte" in printed.text
            assert f"Ida &lt;b&gt;Weiß&lt;/b&gt;\n{pages.ids['studio']}" in printed.text
            document = await browser.get(f"{path}/json")
            assert document.headers["content-disposition"].startswith("attachment")
            assert document.json()["people"] == {pages.ids["studio"]: "Ida <b>Weiß</b>"}


async def test_people_are_told_by_their_names(pages: Pages) -> None:
    case = seeded(pages)
    pages.store.rename_key(pages.ids["investigator"], "Noor Bakker")
    pages.store.rename_key(pages.ids["studio"], "工作室")
    async with visitor(pages, "investigator") as browser:
        await browser.post(f"/cases/{case.id}/lease")
        await browser.post(f"/cases/{case.id}/plan", {"assignee": pages.ids["studio"]})
    async with visitor(pages, "admin") as browser:
        shown = (await browser.get(f"/cases/{case.id}")).text
        assert "Noor Bakker has this case until" in shown
        assert 'Assigned</b> <span class="facts-text">to 工作室' in shown
        assert f'<option value="{pages.ids["studio"]}" selected>工作室</option>' in shown
        assert "Noor Bakker has it" in (await browser.get("/queue")).text
        shown = (await browser.get(f"/events?actor={pages.ids['investigator']}")).text
        assert "selected>Noor Bakker</option>" in shown
        assert pages.ids["platform"] not in shown


def test_filters_survive_an_address() -> None:
    odd = {
        "state": "nothing",
        "q": " a\x00b ",
        "min": "-3",
        "max": "1e9",
        "list": "x",
        "order": "worst",
        "whose": "theirs",
        "outcome": "guilty",
    }
    assert read_query(odd).encoded == "q=ab"
    query = read_query(
        {"state": "all", "q": "a&b=ü", "min": "40", "max": "20", "site": "X.example", "due": "week"}
    )
    again = read_query(dict(httpx.QueryParams(query.encoded)))
    assert again == query
    assert (query.at_least, query.at_most) == (40, 40)
