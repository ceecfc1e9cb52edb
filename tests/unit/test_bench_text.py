import random

import numpy as np

from benchmarks.quality import bench_text, text_media
from benchmarks.quality.text_matchers import Matcher, MinHash, Ours, SimHash


def test_ours_and_the_peers_answer_on_made_up_texts() -> None:
    rng = random.Random(3)
    libraries = [text_media.made_up(language, rng, works=3) for language in ("zh", "en")]
    asked = [one for library in libraries for one in bench_text.questions(library, rng, 1, 4)]
    matchers: list[Matcher] = [Ours(), MinHash(), SimHash()]

    measured = [bench_text.measure(one, libraries, asked, 0) for one in matchers]

    assert [one.recall["zh|verbatim|2000"] for one in measured[:2]] == [1.0, 1.0]
    assert measured[0].recall["en|words 30 %|2000"] == 1.0
    assert measured[0].bytes_per_character < 7  # few rows take some bytes more each than many
    assert all(one.cpu_ms_per_kb > 0 for one in measured)


def test_texts_that_share_a_stretch_are_told_apart() -> None:
    rng = random.Random(4)
    library = text_media.made_up("en", rng, works=2)
    held = text_media.stretches(library.registered.values(), "en")
    copied = library.strangers[0] + next(iter(library.registered.values()))[:2_000]

    assert np.all(np.diff(held.astype(object)) > 0)
    assert text_media.apart(library.strangers[0], held, "en")
    assert not text_media.apart(copied, held, "en")
    assert text_media.quoting([copied, "nothing of the kind"], library) == [True, False]
