import io
from pathlib import Path

import pytest
from PIL import Image

from copyhound import cli, demo, service_process

ALTERATIONS = demo.alterations()


def outcome(*, registered: bool, right: bool, expected: bool = True) -> demo.Outcome:
    alteration = next(a for a in ALTERATIONS if a.expected is expected)
    return demo.Outcome(
        demo.Question("cat", alteration, registered),
        0.9 if right == registered else None,
        right=right,
        place="whole picture",
    )


FOUND = outcome(registered=True, right=True)
MISSED = outcome(registered=True, right=False)
HARD_MISSED = outcome(registered=True, right=False, expected=False)
ALONE = outcome(registered=False, right=True)
ALARM = outcome(registered=False, right=False)


@pytest.mark.parametrize(
    ("outcomes", "passes", "says"),
    [
        ([FOUND, ALONE], True, "Copies found: 1 of 1."),
        ([FOUND, FOUND, HARD_MISSED, ALONE], True, "0 of 1 found"),
        ([FOUND, MISSED, ALONE], False, "Copies found: 1 of 2."),
        ([FOUND, ALONE, ALARM], False, "False alarms: 1 of 2."),
        ([FOUND], False, "False alarms: 0 of 0."),
        ([], False, "Copies found: 0 of 0."),
    ],
)
def test_the_summary_is_counted_from_the_outcomes(
    outcomes: list[demo.Outcome], passes: bool, says: str
) -> None:
    lines: list[str] = []
    assert demo._report(outcomes, lines.append) is passes
    assert says in "\n".join(lines)


def test_no_photograph_is_both_registered_and_a_stranger() -> None:
    registered, strangers = demo.photographs(demo.REGISTERED), demo.photographs(demo.STRANGERS)
    assert not registered.keys() & strangers.keys()
    assert all(path.is_file() for path in (*registered.values(), *strangers.values()))


def test_a_missing_package_is_named() -> None:
    with pytest.raises(demo.DemoError, match="no_such_package"):
        demo.photographs({"no_such_package": ("a.png",)})


@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda alteration: alteration.name)
def test_each_alteration_makes_another_picture(alteration: demo.Alteration) -> None:
    picture = Image.effect_mandelbrot((120, 80), (-2, -1, 1, 1), 50).convert("RGB")
    content = alteration.alter(picture)
    with Image.open(io.BytesIO(content)) as altered:
        altered.load()
        same = (
            altered.mode == "RGB" and altered.size == picture.size and altered.tobytes() == picture.tobytes()
        )
    assert same == (alteration.name == "as it is, PNG")


def test_a_service_that_cannot_start_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service_process, "service_command", lambda *_: ["sh", "-c", "echo disk full >&2"])
    assert cli.run(["demo", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "copyhound: the service did not start: disk full\n"
