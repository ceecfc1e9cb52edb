"""What measurements mean, in plain sentences.

The words say what was measured and where copies and strangers usually lie; how the measurements together make
the probability is the score's business. Where one of them begins to tell, and where it has said all, is what
the score's coefficients found; docs/guides/signals.md describes each measurement.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from indexers.modality import AlignedSegment
from service.language.words import Words


class Telling(StrEnum):
    """How clearly a measurement speaks for a copy, by itself."""

    STRONG = "strong"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A measurement in words.

    Attributes:
        signal: Its name, as in docs/guides/signals.md.
        label: A short name for people.
        value: The number with its unit.
        sentence: What it means.
        telling: How clearly it speaks for a copy by itself.
    """

    signal: str
    label: str
    value: str
    sentence: str
    telling: Telling


@dataclass(frozen=True, slots=True)
class _Band:
    """What to say of values up to `until`."""

    until: float
    telling: Telling
    sentence: str


@dataclass(frozen=True, slots=True)
class _Signal:
    """How a signal is told: a label, a pattern of the value, and bands in rising order of values."""

    label: str
    value: str
    decimals: int
    bands: tuple[_Band, ...]


def noted(message: str) -> str:
    """Mark a message for the catalogues; it is translated where it is shown."""
    return message


_END: Final = math.inf

_SIGNALS: Final[Mapping[str, _Signal]] = {
    "identical_file": _Signal(
        noted("Same file"),
        noted("%(value)s"),
        0,
        (
            _Band(
                _END,
                Telling.STRONG,
                noted("Both files are the same, byte for byte: their SHA-256 digests agree."),
            ),
        ),
    ),
    "pdq_distance": _Signal(
        noted("Picture hash (PDQ)"),
        noted("%(value)s of 256 bits differ"),
        0,
        (
            _Band(
                31,
                Telling.STRONG,
                noted(
                    "%(value)s of the 256 bits of the pictures' hashes differ. Unrelated pictures differ in about"
                    " half of them; the makers of this hash call up to 31 a match."
                ),
            ),
            _Band(
                64,
                Telling.SOME,
                noted(
                    "%(value)s of the 256 bits of the pictures' hashes differ: fewer than between most unrelated"
                    " pictures, which differ in about half, and more than the 31 up to which two count as the same."
                ),
            ),
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "%(value)s of the 256 bits of the pictures' hashes differ. This hash does not recognise the"
                    " picture, as happens with cropped, turned or collaged copies and with unrelated pictures."
                ),
            ),
        ),
    ),
    "pdq_quality": _Signal(
        noted("Detail for the picture hash (PDQ)"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                0.5,
                Telling.NONE,
                noted(
                    "The pictures have little detail for this hash (%(value)s of 1): plain pictures resemble many."
                ),
            ),
            _Band(
                _END,
                Telling.SOME,
                noted("The pictures have enough detail for this hash to be trusted (%(value)s of 1)."),
            ),
        ),
    ),
    "phash_distance": _Signal(
        noted("Picture hash (pHash)"),
        noted("%(value)s of 64 bits differ"),
        0,
        (
            _Band(
                10,
                Telling.SOME,
                noted(
                    "%(value)s of the 64 bits of a second hash differ. That is few, and short hashes agree by chance"
                    " more often than long ones."
                ),
            ),
            _Band(
                _END,
                Telling.NONE,
                noted("%(value)s of the 64 bits of a second hash differ: it does not recognise the picture."),
            ),
        ),
    ),
    "phash_quality": _Signal(
        noted("Detail for the picture hash (pHash)"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                0.5,
                Telling.NONE,
                noted("The pictures have little detail for the second hash (%(value)s of 1)."),
            ),
            _Band(
                _END,
                Telling.SOME,
                noted("The pictures have enough detail for the second hash (%(value)s of 1)."),
            ),
        ),
    ),
    "cnn_similarity": _Signal(
        noted("Likeness to a trained network"),
        noted("%(value)s, where 1 is the same"),
        2,
        (
            _Band(
                0.3,
                Telling.NONE,
                noted(
                    "To a network trained on copies the pictures look unrelated (%(value)s; 1 is the same picture)."
                ),
            ),
            _Band(
                0.6,
                Telling.SOME,
                noted(
                    "To a network trained on copies the pictures look somewhat alike (%(value)s; 1 is the same"
                    " picture). Pictures of the same thing can reach this too."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "To a network trained on copies the pictures look alike (%(value)s; 1 is the same picture)."
                ),
            ),
        ),
    ),
    "cnn_quality": _Signal(
        noted("How unusual the picture is"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                0.4,
                Telling.NONE,
                noted(
                    "The picture resembles many others, as pages of text do (%(value)s of 1): the network's likeness"
                    " is worth less."
                ),
            ),
            _Band(
                _END,
                Telling.SOME,
                noted(
                    "The picture resembles few others (%(value)s of 1): the network's likeness is worth more."
                ),
            ),
        ),
    ),
    "network_similarity": _Signal(
        noted("Likeness to the operator's network"),
        noted("%(value)s, where 1 is the same"),
        2,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "To a network that the operator chose the pictures are alike to %(value)s, where 1 is the same"
                    " picture. The probability does not rest on this."
                ),
            ),
        ),
    ),
    "network_quality": _Signal(
        noted("How unusual the picture is to the operator's network"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "How little the picture resembles others, to the network that the operator chose: %(value)s of 1."
                    " The probability does not rest on this."
                ),
            ),
        ),
    ),
    "local_inliers": _Signal(
        noted("Details at the same place"),
        noted("%(value)s details"),
        0,
        (
            _Band(
                0,
                Telling.NONE,
                noted("No details of the work were found in the same arrangement in the suspect picture."),
            ),
            _Band(
                7,
                Telling.NONE,
                noted(
                    "%(value)s small details of the work lie in the suspect picture where one movement of the work"
                    " puts them. So few can agree by chance."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "%(value)s small details of the work lie in the suspect picture where one and the same movement"
                    " of the work (shift, turn, scale) puts them."
                ),
            ),
        ),
    ),
    "local_spread": _Signal(
        noted("Spread of these details"),
        noted("%(value)s of 64 fields"),
        0,
        (
            _Band(
                9,
                Telling.NONE,
                noted(
                    "These details lie in %(value)s of 64 fields of the picture. Something small that two pictures"
                    " share, such as a logo or a caption, can do that."
                ),
            ),
            _Band(
                19,
                Telling.SOME,
                noted("These details lie in %(value)s of 64 fields of the picture."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "These details are spread over %(value)s of 64 fields of the picture: not a logo or a caption alone."
                ),
            ),
        ),
    ),
    "local_agreement": _Signal(
        noted("Agreement of the shared area"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                0.45,
                Telling.NONE,
                noted(
                    "Of the area that both pictures would share, a part of %(value)s agrees in detail. It is low where"
                    " only a caption, a frame or a logo is common to both."
                ),
            ),
            _Band(
                0.85,
                Telling.SOME,
                noted("Of the area that both pictures share, a part of %(value)s agrees in detail."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "Of the area that both pictures share, nearly all agrees in detail (a part of %(value)s)."
                ),
            ),
        ),
    ),
    "chromaprint_evidence": _Signal(
        noted("Agreement of the sound's codes"),
        noted("%(value)s bits"),
        0,
        (
            _Band(
                150,
                Telling.NONE,
                noted(
                    "The codes of both sounds agree by %(value)s bits more than a chance line would. Two unrelated"
                    " sounds mostly stay below 100."
                ),
            ),
            _Band(
                500,
                Telling.SOME,
                noted(
                    "The codes of both sounds agree by %(value)s bits more than a chance line would. The most similar"
                    " of a hundred strangers can reach 440; ten seconds of a clean copy reach 500."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "The codes of both sounds agree by %(value)s bits more than a chance line would: more than"
                    " strangers reach. Ten seconds of a clean copy reach 500."
                ),
            ),
        ),
    ),
    "chromaprint_error": _Signal(
        noted("Differing bits of the sound's codes"),
        noted("a part of %(value)s"),
        2,
        (
            _Band(
                0.25,
                Telling.STRONG,
                noted(
                    "Along the best stretch a part of %(value)s of the sounds' bits differs; of strangers half does."
                ),
            ),
            _Band(
                0.36,
                Telling.SOME,
                noted(
                    "Along the best stretch a part of %(value)s of the sounds' bits differs, as after a change of"
                    " pitch, speed or other heavy processing; of strangers half does."
                ),
            ),
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "Along the best stretch a part of %(value)s of the sounds' bits differs, as of strangers."
                ),
            ),
        ),
    ),
    "chromaprint_hits": _Signal(
        noted("Votes for the place"),
        noted("%(value)s votes"),
        0,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "%(value)s short pieces of the sound pointed to the same place in the work. This found the place; it proves nothing by itself."
                ),
            ),
        ),
    ),
    "chromaprint_seconds": _Signal(
        noted("Sound reported"),
        noted("%(value)s seconds"),
        1,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "%(value)s seconds of the suspect's sound correspond to the work, as far as the codes show."
                ),
            ),
        ),
    ),
    "peak_evidence": _Signal(
        noted("Agreement of the sound's peaks"),
        noted("%(value)s"),
        0,
        (
            _Band(
                20,
                Telling.NONE,
                noted(
                    "The loudest tones of both sounds do not lie together more than chance explains (%(value)s;"
                    " strangers have up to 20)."
                ),
            ),
            _Band(
                70,
                Telling.SOME,
                noted(
                    "The loudest tones of both sounds lie together more often than chance explains (%(value)s;"
                    " strangers have up to 20)."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "The loudest tones of both sounds lie together far more often than chance explains (%(value)s;"
                    " strangers have up to 20)."
                ),
            ),
        ),
    ),
    "peak_count": _Signal(
        noted("Common peaks"),
        noted("%(value)s peaks"),
        0,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "%(value)s of the work's loudest tones are in the suspect's sound at the same moment and pitch."
                ),
            ),
        ),
    ),
    "frames_evidence": _Signal(
        noted("Agreement of the film's pictures"),
        noted("%(value)s"),
        1,
        (
            _Band(
                4,
                Telling.NONE,
                noted(
                    "Along what is reported the films' pictures are hardly more alike than pictures that say nothing (%(value)s; 10 says all)."
                ),
            ),
            _Band(
                10,
                Telling.SOME,
                noted(
                    "Along what is reported the films' pictures are more alike than pictures that say nothing (%(value)s; 10 says all)."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "Along what is reported the films' pictures are far more alike than pictures that say nothing (%(value)s; 10 says all)."
                ),
            ),
        ),
    ),
    "frames_count": _Signal(
        noted("Pictures that agree"),
        noted("%(value)s pictures"),
        0,
        (
            _Band(
                3,
                Telling.NONE,
                noted("%(value)s pictures of the best stretch agree: too few to tell a copy from chance."),
            ),
            _Band(
                9,
                Telling.SOME,
                noted("%(value)s pictures of the best stretch agree, in the same order."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "%(value)s pictures of the best stretch agree, one after the other, in the same order."
                ),
            ),
        ),
    ),
    "frames_similarity": _Signal(
        noted("Likeness of these pictures"),
        noted("%(value)s, where 1 is the same"),
        2,
        (
            _Band(
                0.5,
                Telling.NONE,
                noted(
                    "On average these pictures are alike to %(value)s, where 1 is the same: strangers reach that."
                ),
            ),
            _Band(
                0.7,
                Telling.SOME,
                noted("On average these pictures are alike to %(value)s, where 1 is the same."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted("On average these pictures are much alike: %(value)s, where 1 is the same."),
            ),
        ),
    ),
    "frames_contrast": _Signal(
        noted("Difference to neighbouring moments"),
        noted("%(value)s"),
        2,
        (
            _Band(
                0.06,
                Telling.NONE,
                noted(
                    "A few seconds before and after, the work looks much the same (%(value)s). The scene stands still,"
                    " so the suspect may show another moment of it."
                ),
            ),
            _Band(
                _END,
                Telling.SOME,
                noted(
                    "A few seconds before and after, the work looks different (%(value)s): it is this very moment."
                ),
            ),
        ),
    ),
    "frames_motion": _Signal(
        noted("Agreement of what changes"),
        noted("%(value)s, where 1 is the same"),
        2,
        (
            _Band(
                0.1,
                Telling.NONE,
                noted(
                    "What changes from picture to picture does not agree in both films (%(value)s, where 1 is the"
                    " same): as of unrelated films, or where nothing moves."
                ),
            ),
            _Band(
                0.25,
                Telling.SOME,
                noted(
                    "What changes from picture to picture agrees in part in both films (%(value)s, where 1 is the"
                    " same). Other moments of the same scene can reach this."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "What changes from picture to picture agrees in both films (%(value)s, where 1 is the same):"
                    " more than other moments of the same scene reach."
                ),
            ),
        ),
    ),
    "frames_lead": _Signal(
        noted("Lead over neighbouring places"),
        noted("%(value)s"),
        2,
        (
            _Band(
                0.0,
                Telling.NONE,
                noted(
                    "What changes agrees at least as well at another place within 20 seconds (%(value)s): the place"
                    " is uncertain."
                ),
            ),
            _Band(
                _END,
                Telling.SOME,
                noted("What changes agrees better here than anywhere else within 20 seconds, by %(value)s."),
            ),
        ),
    ),
    "frames_change": _Signal(
        noted("How much the film changes there"),
        noted("%(value)s, where 0 is a still picture"),
        2,
        (
            _Band(
                0.1,
                Telling.SOME,
                noted(
                    "The film hardly changes there, or too little of it is seen to tell (%(value)s, where 0 is a still"
                    " picture): that its changes do not agree says little against a copy."
                ),
            ),
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "The film changes there (%(value)s, where 0 is a still picture): the changes of a copy should agree."
                ),
            ),
        ),
    ),
    "frames_speed": _Signal(
        noted("Unusual speed"),
        noted("%(value)s, where 0 is the work's own"),
        2,
        (
            _Band(
                0.02,
                Telling.SOME,
                noted("It would run at the work's own speed (%(value)s, where 0 is just that)."),
            ),
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "It would run at another speed, or backwards (%(value)s, where 0 is the work's own and 1 backwards):"
                    " among so many speeds, something agrees by chance more often."
                ),
            ),
        ),
    ),
    "frames_seconds": _Signal(
        noted("Film reported"),
        noted("%(value)s seconds"),
        1,
        (
            _Band(
                _END,
                Telling.NONE,
                noted("%(value)s seconds of the suspect's pictures correspond to the work."),
            ),
        ),
    ),
    "sound_agreement": _Signal(
        noted("Sound tells the same place"),
        noted("a part of %(value)s"),
        2,
        (
            _Band(
                0.3,
                Telling.NONE,
                noted(
                    "The sound does not confirm the place that the pictures tell (a part of %(value)s of the time)."
                    " It may have been replaced or removed."
                ),
            ),
            _Band(
                0.9,
                Telling.SOME,
                noted("For a part of %(value)s of the time the sound tells the same place as the pictures."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "Nearly all the time (a part of %(value)s) the sound tells the same place as the pictures."
                ),
            ),
        ),
    ),
    "text_evidence": _Signal(
        noted("Passages against chance"),
        noted("%(value)s powers of ten"),
        1,
        (
            _Band(
                2,
                Telling.NONE,
                noted(
                    "That these passages agree is what chance and common phrases explain (%(value)s powers of ten)."
                ),
            ),
            _Band(
                40,
                Telling.SOME,
                noted(
                    "That these passages agree beats chance by %(value)s powers of ten. A quotation can do that too."
                ),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted("That these passages agree beats chance by %(value)s powers of ten."),
            ),
        ),
    ),
    "text_places": _Signal(
        noted("Separate places that agree"),
        noted("%(value)s places"),
        1,
        (
            _Band(
                10,
                Telling.NONE,
                noted("%(value)s separate places of a few words agree, as a short quotation has them."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted(
                    "%(value)s separate places of a few words agree; what other works hold too counts less."
                ),
            ),
        ),
    ),
    "text_density": _Signal(
        noted("How unchanged the passages are"),
        noted("%(value)s of 1"),
        2,
        (
            _Band(
                _END,
                Telling.NONE,
                noted(
                    "Within the passages a part of %(value)s of the wording is the work's; 1 is an unchanged copy."
                ),
            ),
        ),
    ),
    "text_characters": _Signal(
        noted("Text reported"),
        noted("%(value)s characters"),
        0,
        (
            _Band(
                _END,
                Telling.NONE,
                noted("%(value)s characters of the suspect lie in passages that correspond to the work."),
            ),
        ),
    ),
    "text_longest": _Signal(
        noted("Longest passage"),
        noted("%(value)s characters"),
        0,
        (
            _Band(
                160,
                Telling.NONE,
                noted(
                    "The longest passage has %(value)s characters: as long as a quotation of a line or two."
                ),
            ),
            _Band(
                299,
                Telling.SOME,
                noted("The longest passage has %(value)s characters."),
            ),
            _Band(
                _END,
                Telling.STRONG,
                noted("The longest passage has %(value)s characters: longer than a usual quotation."),
            ),
        ),
    ),
}

_TRANSFORMS: Final[Mapping[str, str]] = {
    "identity": noted("unchanged: neither mirrored nor turned"),
    "flip_horizontal": noted("mirrored, left and right exchanged"),
    "flip_vertical": noted("mirrored, top and bottom exchanged"),
    "rotate_90": noted("turned by 90° counter-clockwise"),
    "rotate_180": noted("turned by 180°"),
    "rotate_270": noted("turned by 90° clockwise"),
    "transpose": noted("mirrored along the falling diagonal"),
    "transverse": noted("mirrored along the rising diagonal"),
    "invert": noted("a negative: light and dark exchanged"),
    "affine": noted("turned by another angle, or sheared"),
    "perspective": noted("seen from the side, in perspective"),
}

SIGNALS: Final = frozenset(_SIGNALS)
"""The signals that have words."""
TRANSFORMS: Final = frozenset(_TRANSFORMS)
"""The transforms of pictures that have words."""


def name_signal(words: Words, name: str) -> str:
    """What a measurement is called; one without words by its code.

    Args:
        words: Of domain ``report``.
        name: Such as ``pdq_distance``.
    """
    signal = _SIGNALS.get(name)
    return name if signal is None else words.text(signal.label)


def explain_signal(words: Words, name: str, value: float) -> Explanation:
    """One measurement in words.

    Args:
        words: Of domain ``report``.
        name: Such as ``pdq_distance``; of one without words the bare number is told.
        value: As in docs/guides/signals.md.
    """
    signal = _SIGNALS.get(name)
    if signal is None:
        shown = f"{value:,.4g}"
        sentence = words.text("%(name)s was measured as %(value)s.", name=name, value=shown)
        return Explanation(name, name, shown, sentence, Telling.NONE)
    shown = f"{value:,.{signal.decimals}f}"
    band = next(band for band in signal.bands if value <= band.until)
    return Explanation(
        name,
        words.text(signal.label),
        words.text(signal.value, value=shown),
        words.text(band.sentence, value=shown),
        band.telling,
    )


def explain_signals(words: Words, signals: Mapping[str, float]) -> list[Explanation]:
    """All measurements in words, the most telling first."""
    order = {telling: place for place, telling in enumerate(Telling)}
    known = {name: place for place, name in enumerate(_SIGNALS)}
    told = [explain_signal(words, name, value) for name, value in signals.items()]
    return sorted(told, key=lambda one: (order[one.telling], known.get(one.signal, len(known)), one.signal))


_EVEN: Final = 0.5
"""Below it, a film is no probable copy."""


def explain_probability(words: Words, probability: float, signals: Mapping[str, float]) -> list[str]:
    """What a probability means and rests on, a sentence each.

    Args:
        words: Of domain ``report``.
        probability: 0..1.
        signals: What was measured.
    """
    if signals.get("identical_file"):
        return [
            words.text("The suspect is the work's file itself."),
            words.text("Their SHA-256 digests agree, which no two different files are known to do."),
        ]
    return [
        words.text(
            "The probability that the suspect holds a copy of this work is %(value)s.",
            value=likelihood(probability),
        ),
        _frequency(words, probability),
        *_same_scene(words, probability, signals),
        words.text(
            "It is computed from the measurements below by a formula that was fitted on altered copies and on"
            " unrelated media, and supposes that one in ten of the media looked at holds a copy. It says how alike"
            " both are; whether the use is allowed is for people to decide."
        ),
    ]


def _same_scene(words: Words, probability: float, signals: Mapping[str, float]) -> list[str]:
    """Why a film that is no probable copy is told of all the same."""
    if "frames_motion" not in signals or probability >= _EVEN:
        return []
    return [
        words.text(
            "It shows the same scene. What changes in it does not tell whether it is the same moment or another"
            " one: compare both sides."
        )
    ]


def explain_coverage(words: Words, query: float, work: float) -> str:
    """How much of both sides corresponds, in a sentence.

    Args:
        words: Of domain ``report``.
        query: Part of the suspect, 0..1.
        work: Part of the registered media item, 0..1.
    """
    return words.text(
        "%(query)s of the suspect correspond to %(work)s of the registered media item.",
        query=percent(query),
        work=percent(work),
    )


def explain_parts(words: Words, found: int) -> list[str]:
    """How a container was compared, a sentence each; empty: it is none.

    Args:
        words: Of domain ``report``.
        found: How many of its parts are copies.
    """
    if not found:
        return []
    return [
        words.plural(
            "The suspect is a container. %(num)s of the media items in it is a copy of one of the work.",
            "The suspect is a container. %(num)s of the media items in it are copies of ones of the work.",
            found,
        ),
        words.text(
            "The probability is that of the whole, the coverages are shares of all that both hold, and the"
            " measurements are those of the first part."
        ),
    ]


def explain_transform(words: Words, transform: str) -> str:
    """What was done to a picture, in a few words; an unknown transform is named as it is."""
    return words.text(_TRANSFORMS[transform]) if transform in _TRANSFORMS else transform


def explain_segment(words: Words, segment: AlignedSegment) -> list[str]:
    """What was done to a stretch of the work, in a few words each; empty: nothing.

    Args:
        words: Of domain ``report``.
        segment: Its speed is that of the suspect relative to the work, its pitch in cents.
    """
    told = []
    if segment.speed < 0:
        told.append(words.text("backwards"))
    speed = abs(segment.speed)
    if speed >= 1.005:
        told.append(words.text("faster, at %(value)s times the speed", value=f"{speed:.2f}"))
    elif 0 < speed <= 0.995:
        told.append(words.text("slower, at %(value)s times the speed", value=f"{speed:.2f}"))
    if segment.pitch_cents >= 5:
        told.append(words.text("higher by %(value)s semitones", value=f"{segment.pitch_cents / 100:.2f}"))
    elif segment.pitch_cents <= -5:
        told.append(words.text("lower by %(value)s semitones", value=f"{-segment.pitch_cents / 100:.2f}"))
    return told


def likelihood(probability: float) -> str:
    """A probability, 0..1, in percent; never all or nothing: what is computed can be wrong."""
    return percent(min(max(probability, 1e-9), 1 - 1e-9))


def percent(part: float) -> str:
    """A part, 0..1, in percent; never rounded up to all or down to nothing."""
    if 0 < part < 0.001:
        return "< 0.1 %"
    if 0.999 < part < 1:
        return "> 99.9 %"
    return f"{100 * part:.1f} %"


def _frequency(words: Words, probability: float) -> str:
    if probability >= 0.995:
        return words.text("Of a thousand cases that measure like this, at least 995 are copies.")
    if probability <= 0.005:
        return words.text("Of a thousand cases that measure like this, at most five are copies.")
    return words.text(
        "Of a hundred cases that measure like this, about %(count)s are copies.",
        count=round(100 * probability),
    )
