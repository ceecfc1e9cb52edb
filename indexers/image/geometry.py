"""How two pictures lie on each other, by their local features: verification of candidates.

Keypoints of a query and of a reference are paired by their descriptors, and one transform is sought that
explains as many pairs as possible. Pairs of matches give hypotheses: a similarity, or an axis-parallel
stretch where the picture was squeezed. All are counted (MSAC, https://doi.org/10.1006/cviu.1999.0832); the
best are fitted again to what agrees with them, as an affine map and as a perspective one (LO-RANSAC,
https://doi.org/10.1007/978-3-540-45243-0_31). Hypotheses are taken in the order of the matches' distinctness
(PROSAC, https://doi.org/10.1109/CVPR.2005.221), so that nothing is drawn at random.

Coordinates are fractions of width and height; inside, pictures have their true aspect and height 1.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from indexers.image.hashes import TURNS
from indexers.image.local import APPEARANCES, PARTS, PATCH, Appearance
from indexers.modality import Box
from indexers.transforms import LINEAR

Floats: TypeAlias = npt.NDArray[np.float64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]

MAX_DISTANCE = 80
"""Bits up to which two keypoints can be a match."""

MAX_RATIO = 0.88
"""Largest distance of a match as a part of the distance to the second nearest keypoint."""

TOLERANCE = 0.008
"""How far, in diagonals of the query, an inlier may lie from where the transform puts it."""

MIN_INLIERS = 4
"""A similarity has four degrees of freedom, two matches' worth: fewer inliers than this say nothing."""

MAX_KEYPOINTS = 2048
"""Keypoints of a picture beyond the first this many are left out: time and memory grow with both sides'."""

SURE_INLIERS = 24
"""From here the other appearances (mirrored, negative) are not tried."""

GRID = 8
"""Spread is counted in cells of a grid of this many by this many over a picture."""

MAX_SCALE = 20.0
"""A picture shown smaller or larger than this, side by side, is not believed."""

MAX_STRETCH = 4.0
"""A picture squeezed more than this is not believed."""

_PAIRED = 48
"""Most matches that hypotheses are made from."""

_LATER, _EARLIER = np.tril_indices(_PAIRED, -1)
"""All pairs of that many matches; the first n * (n - 1) / 2 are those of the first n."""

_APART = 0.03
"""How far apart, in heights of the reference, the two matches of a hypothesis lie at least."""

_HYPOTHESES = 96
"""Most hypotheses of one kind that are counted."""

_HOPEFUL = 2.7
"""Score below which a hypothesis is not looked at more closely; its own two matches give 2."""

_REFINED = 3
"""Most hypotheses that are."""

_SIZE_FACTOR = np.log(1.8)
"""An inlier's size may differ by this factor from what the transform says, logarithm."""

_UPRIGHT = np.tan(np.radians(2.5))
"""A turn below this is none."""

_FLAT = 0.05
"""A map whose third coordinate changes less than this across a picture's height is affine."""

_REACH = PATCH / 8
"""Half of the patch that is described around a keypoint, as a part of its square's side (four scales)."""

_MISSED = 4.0
"""More inliers than this must be missing beyond the others before the reference is said to be cut there."""

_THIN = 1e-6
"""A box is not thinner than this."""

_LINEAR = {name: np.array(LINEAR[name]) for name in TURNS}


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Where a query shows a reference.

    Attributes:
        transform: (3, 3) float64, from the reference to the query, in fractions of width and height, of
            homogeneous columns; its last number is 1.
        name: One of `hashes.TURNS` where flips and right-angle turns (with any crop, move or stretch)
            explain it, ``affine`` for other turns and shears, ``perspective``.
        mirrored: Whether it shows the reference as in a mirror.
        inverted: Whether it is the reference's negative.
        matches: Keypoints that were paired, under that appearance.
        inliers: Paired keypoints that agree with the transform, no two at one place on either side.
        query_spread: Cells of a grid of 8 × 8 over the query that hold inliers.
        work_spread: The same for the reference.
        agreement: Of the cells of a grid of 8 × 8 over what both show in which one side has keypoints that
            the other should show, how many have inliers, 0..1; of the side for which that is more, because
            a blurred copy has lost most of the reference's. Low where only a logo, a caption or a frame is
            common.
        query: What shows the reference.
        work: What is shown.
        query_coverage: Part of the query's area that shows the reference, 0..1.
        work_coverage: Part of the reference's area that is shown, 0..1.
    """

    transform: Floats
    name: str
    mirrored: bool
    inverted: bool
    matches: int
    inliers: int
    query_spread: int
    work_spread: int
    agreement: float
    query: Box
    work: Box
    query_coverage: float
    work_coverage: float

    @property
    def inlier_ratio(self) -> float:
        """Inliers per match, 0..1."""
        return self.inliers / self.matches


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Keypoints of one picture: (n, 2) centres, (n,) sizes, and width over height."""

    words: npt.NDArray[np.uint64]
    centres: Floats
    sizes: Floats
    aspect: float

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.aspect, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Matches, most distinct first: rows on both sides, and what is needed of them."""

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    query: Floats
    work: Floats
    growth: Floats
    """Logarithm of how much larger the query's keypoint is."""
    tolerance: Floats


class _Couples(NamedTuple):
    """Pairs of matches (c of them): what a hypothesis is made from."""

    first: npt.NDArray[np.intp]
    """Number of one of the two."""
    across: Floats
    """(c,) from it to the other, in the query, to the right."""
    down: Floats
    right: Floats
    """(c,) the same in the reference, to the right."""
    below: Floats
    growth: Floats
    """Mean of the two."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A transform (3, 3) in inner coordinates, what agrees with it, and how well."""

    matrix: Floats
    inliers: Flags
    score: float


def relate(
    query_descriptors: npt.NDArray[np.uint8],
    query_squares: npt.NDArray[np.float32],
    work_descriptors: npt.NDArray[np.uint8],
    work_squares: npt.NDArray[np.float32],
) -> Geometry | None:
    """Find the transform under which the most keypoints of two pictures agree.

    Args:
        query_descriptors: (n, 32), of `local.LOCAL`, of one picture or frame.
        query_squares: (n, 4), in 0..1; those without a finite, positive size are left out.
        work_descriptors: (m, 32), of the reference.
        work_squares: (m, 4).

    Returns:
        None where fewer than `MIN_INLIERS` keypoints agree with any transform that a copy could have
        undergone. Unrelated pictures may well have a few inliers by chance.
    """
    query, work = _side(query_descriptors, query_squares), _side(work_descriptors, work_squares)
    if min(len(query.sizes), len(work.sizes)) < MIN_INLIERS:
        return None
    parts = _partial_distances(query.words, work.words)
    best: tuple[_Fit, _Pairs, Appearance] | None = None
    for appearance in APPEARANCES:
        pairs = _match(query, work, parts, appearance)
        if len(pairs.rows) < MIN_INLIERS:
            continue
        fit = _estimate(pairs, mirrored=appearance.mirrored)
        if fit is not None and (best is None or fit.score > best[0].score):
            best = fit, pairs, appearance
            if np.count_nonzero(fit.inliers) >= SURE_INLIERS:
                break
    return None if best is None else _describe(query, work, *best)


def _side(descriptors: npt.NDArray[np.uint8], squares: npt.NDArray[np.float32]) -> _Side:
    """Turn squares into centres and sizes; a square's sides tell the picture's aspect."""
    corners = np.asarray(squares[:MAX_KEYPOINTS], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        extents = corners[:, 2:] - corners[:, :2]
        usable = np.isfinite(corners).all(axis=1) & (extents > 1e-6).all(axis=1)
    corners, extents = corners[usable], extents[usable]
    aspect = float(np.median(extents[:, 1] / extents[:, 0])) if len(extents) else 1.0
    aspect = min(max(aspect, 1e-3), 1e3)
    centres = (corners[:, :2] + corners[:, 2:]) / 2 * (aspect, 1.0)
    words = np.ascontiguousarray(descriptors[:MAX_KEYPOINTS][usable]).view(np.uint64)
    return _Side(words, centres, extents[:, 1], aspect)


def _partial_distances(query: npt.NDArray[np.uint64], work: npt.NDArray[np.uint64]) -> list[Bytes]:
    """Bits that differ in each of the descriptor's parts, (n, m) each."""
    different = np.empty((len(query), len(work)), np.uint64)
    parts = []
    for mine, theirs in zip(query.T, work.T, strict=True):
        np.bitwise_xor(mine[:, np.newaxis], theirs, out=different)
        parts.append(np.bitwise_count(different))
    np.minimum(parts[0], PARTS - 1, out=parts[0])  # so that all four sum to a byte
    return parts


def _match(query: _Side, work: _Side, parts: list[Bytes], appearance: Appearance) -> _Pairs:
    """Pair keypoints that are each other's nearest, clearly nearer than the second nearest."""
    distances = parts[0] + np.uint8(sum(appearance.flipped) * PARTS)
    for part, flipped in zip(parts[1:], appearance.flipped[1:], strict=True):
        (np.subtract if flipped else np.add)(distances, part, out=distances)
    rows = np.arange(len(distances))
    columns = distances.argmin(axis=1)
    nearest = distances[rows, columns]
    mutual = nearest == distances.min(axis=0)[columns]
    distances[rows, columns] = np.iinfo(np.uint8).max
    second = distances.min(axis=1)
    ratios = nearest / np.maximum(second, 1)
    kept = np.flatnonzero(mutual & (nearest <= MAX_DISTANCE) & (ratios <= MAX_RATIO))
    kept = kept[np.argsort(ratios[kept], kind="stable")]
    _, first = np.unique(columns[kept], return_index=True)  # equal descriptors are all mutual
    rows = kept[np.sort(first)]
    columns = columns[rows]
    return _Pairs(
        rows,
        columns,
        query.centres[rows],
        work.centres[columns],
        np.log(query.sizes[rows] / work.sizes[columns]),
        np.maximum(TOLERANCE * query.diagonal, query.sizes[rows] * 0.25),
    )


def _estimate(pairs: _Pairs, *, mirrored: bool) -> _Fit | None:
    """Count hypotheses, fit the best again."""
    couples = _couples(pairs)
    candidates = np.concatenate(
        [_similarities(pairs, couples, mirrored=mirrored), _stretches(pairs, couples, mirrored=mirrored)]
    )
    if not len(candidates):
        return None
    scores = _scores(pairs, candidates)
    hopeful = np.flatnonzero(scores > _HOPEFUL)
    best: _Fit | None = None
    for number in hopeful[np.argsort(-scores[hopeful], kind="stable")][:_REFINED]:
        fit = _refine(pairs, _fit(pairs, candidates[number]), mirrored=mirrored)
        if fit is not None and (best is None or fit.score > best.score):
            best = fit
    return best


def _couples(pairs: _Pairs) -> _Couples:
    """All pairs of the first matches whose sizes changed alike, in the order of the less distinct one."""
    count = min(len(pairs.rows), _PAIRED)
    total = count * (count - 1) // 2
    first, second = _EARLIER[:total], _LATER[:total]
    alike = np.flatnonzero(np.abs(pairs.growth[first] - pairs.growth[second]) < 2 * _SIZE_FACTOR)
    first, second = first[alike], second[alike]
    across, down, right, below = (
        axis[second] - axis[first] for axis in (*pairs.query.T.copy(), *pairs.work.T.copy())
    )
    growth = (pairs.growth[first] + pairs.growth[second]) / 2
    return _Couples(first, across, down, right, below, growth)


def _similarities(pairs: _Pairs, couples: _Couples, *, mirrored: bool) -> Floats:
    """Turn, scale and move, by two matches whose keypoints' sizes agree: (h, 2, 3)."""
    hand = -1.0 if mirrored else 1.0
    extent = couples.right**2 + couples.below**2
    turned = couples.across**2 + couples.down**2
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = np.log(turned / extent) / 2
    close = np.abs(grown - couples.growth) < _SIZE_FACTOR
    kept = np.flatnonzero((extent > _APART**2) & (turned > 0) & close)[:_HYPOTHESES]
    across, down, right = couples.across[kept], couples.down[kept], couples.right[kept]
    below, extent = couples.below[kept] * hand, extent[kept]
    cosine, sine = (across * right + down * below) / extent, (down * right - across * below) / extent
    linear = np.array([(cosine, -hand * sine), (sine, hand * cosine)]).transpose(2, 0, 1)
    return _through(pairs, linear, couples.first[kept])


def _stretches(pairs: _Pairs, couples: _Couples, *, mirrored: bool) -> Floats:
    """Scale each axis by itself and move, by two matches: (h, 2, 3)."""
    usable = np.flatnonzero((np.abs(couples.right) > _APART) & (np.abs(couples.below) > _APART))
    wider = couples.across[usable] / couples.right[usable]
    taller = couples.down[usable] / couples.below[usable]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log(np.abs(wider)), np.log(np.abs(taller))
        close = np.abs((x + y) / 2 - couples.growth[usable]) < _SIZE_FACTOR
        kept = np.flatnonzero(
            (np.abs(x - y) < np.log(MAX_STRETCH)) & close & ((wider * taller < 0) == mirrored)
        )[:_HYPOTHESES]
    linear = np.zeros((len(kept), 2, 2))
    linear[:, 0, 0], linear[:, 1, 1] = wider[kept], taller[kept]
    return _through(pairs, linear, couples.first[usable[kept]])


def _through(pairs: _Pairs, linear: Floats, rows: npt.NDArray[np.intp]) -> Floats:
    """Add to maps of directions (h, 2, 2) the moves that put a match of each in its place: (h, 2, 3)."""
    moves = pairs.query[rows, :, np.newaxis] - linear @ pairs.work[rows, :, np.newaxis]
    return np.concatenate([linear, moves], axis=2)


def _scores(pairs: _Pairs, candidates: Floats) -> Floats:
    """MSAC's score of each candidate (h, 2, 3): matches that agree, each by how well."""
    # One product of two matrices is twice as fast as one for each candidate.
    moved = (candidates[:, :, :2].reshape(-1, 2) @ pairs.work.T).reshape(len(candidates), 2, -1)
    across, down = moved[:, 0] + candidates[:, 0, 2:], moved[:, 1] + candidates[:, 1, 2:]
    across -= pairs.query[:, 0]
    down -= pairs.query[:, 1]
    within = across**2 + down**2
    within /= pairs.tolerance**2
    areas = candidates[:, 0, 0] * candidates[:, 1, 1] - candidates[:, 0, 1] * candidates[:, 1, 0]
    agree = np.abs(np.log(np.abs(areas))[:, np.newaxis] / 2 - pairs.growth) < _SIZE_FACTOR
    scores: Floats = (np.maximum(0.0, 1.0 - within) * agree).sum(axis=1)
    return scores


def _fit(pairs: _Pairs, matrix: Floats) -> _Fit:
    """Count what agrees with a (2, 3) or (3, 3) matrix."""
    full = matrix if len(matrix) == 3 else np.vstack([matrix, (0.0, 0.0, 1.0)])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        moved, depth = _project(full, pairs.work)
        squared = ((moved - pairs.query) ** 2).sum(axis=1) / pairs.tolerance**2
        grown = np.log(np.abs(np.linalg.det(full) / depth**3)) / 2
        inliers = (squared < 1) & (depth > 0) & (np.abs(grown - pairs.growth) < _SIZE_FACTOR)
    return _Fit(full, inliers, float((1.0 - squared[inliers]).sum()))


def _project(matrix: Floats, points: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Return points (n, 2) where the matrix puts them, and their third coordinate (n,)."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, :2] / moved[:, 2:], moved[:, 2]


def _refine(pairs: _Pairs, fit: _Fit, *, mirrored: bool) -> _Fit | None:
    """Fit affine maps, then perspective ones, to what agrees, as long as more agrees."""
    best = fit if _plausible(pairs, fit, mirrored=mirrored) else None
    for perspective, least in ((False, 4), (False, 4), (False, 4), (True, 10), (True, 10)):
        current = best or fit
        if np.count_nonzero(current.inliers) < least:
            break
        matrix = _least_squares(
            pairs.work[current.inliers], pairs.query[current.inliers], perspective=perspective
        )
        if matrix is None:
            break
        again = _fit(pairs, matrix)
        bonus = 1.0 if perspective else 0.0
        if again.score > (best.score + bonus if best else 0.0) and _plausible(
            pairs, again, mirrored=mirrored
        ):
            best = again
    return best


def _least_squares(work: Floats, query: Floats, *, perspective: bool) -> Floats | None:
    """Solve for the matrix that takes `work` to `query`; None where the points do not tell."""
    one, none = np.ones(len(work)), np.zeros(len(work))
    x, y = work.T
    if not perspective:
        system = np.stack([x, y, one], axis=1)
        solution, _, rank, _ = np.linalg.lstsq(system, query, rcond=1e-6)
        return np.vstack([solution.T, (0.0, 0.0, 1.0)]) if rank == 3 else None
    u, v = query.T
    system = np.concatenate(
        [
            np.stack([x, y, one, none, none, none, -x * u, -y * u], axis=1),
            np.stack([none, none, none, x, y, one, -x * v, -y * v], axis=1),
        ]
    )
    solution, _, rank, _ = np.linalg.lstsq(system, np.concatenate([u, v]), rcond=1e-6)
    return np.append(solution, 1.0).reshape(3, 3) if rank == 8 else None


def _plausible(pairs: _Pairs, fit: _Fit, *, mirrored: bool) -> bool:
    """Tell whether a copy could have been made so: neither collapsed, torn nor turned inside out."""
    if np.count_nonzero(fit.inliers) < MIN_INLIERS:
        return False
    work = pairs.work[fit.inliers]
    _, depth = _project(fit.matrix, work)
    if depth.min() <= 0 or depth.max() > 3 * depth.min():
        return False
    linear = _linear(fit.matrix, work.mean(axis=0))
    large, small = np.linalg.svd(linear, compute_uv=False)
    return bool(
        (np.linalg.det(linear) < 0) == mirrored
        and large < MAX_STRETCH * small
        and 1 / MAX_SCALE < np.sqrt(large * small) < MAX_SCALE
    )


def _linear(matrix: Floats, point: Floats) -> Floats:
    """The derivative (2, 2) of the transform at a point."""
    moved = matrix @ (*point, 1.0)
    derivative: Floats = (matrix[:2, :2] - np.outer(moved[:2] / moved[2], matrix[2, :2])) / moved[2]
    return derivative


def _describe(query: _Side, work: _Side, fit: _Fit, pairs: _Pairs, appearance: Appearance) -> Geometry | None:
    """Say what the transform means for the two pictures."""
    mine = pairs.query[fit.inliers] / (query.aspect, 1.0)
    theirs = pairs.work[fit.inliers] / (work.aspect, 1.0)
    inliers = min(_distinct(mine, 128), _distinct(theirs, 128))
    transform = np.diag((1 / query.aspect, 1.0, 1.0)) @ fit.matrix @ np.diag((work.aspect, 1.0, 1.0))
    visible = _visible(query, work, fit.matrix)
    corners, depth = _project(transform, _frame(visible, theirs))
    if inliers < MIN_INLIERS or depth.min() <= 0:
        return None
    region = _clipped(corners)
    if len(region) < 3:
        return None
    original = _project(np.linalg.inv(transform).astype(np.float64), region)[0].clip(0, 1)
    back = _visible(work, query, np.linalg.inv(fit.matrix).astype(np.float64))
    transform /= transform[2, 2]
    transform.flags.writeable = False
    return Geometry(
        transform=transform,
        name=_name(fit.matrix, pairs.work[fit.inliers].mean(axis=0)),
        mirrored=appearance.mirrored,
        inverted=appearance.inverted,
        matches=len(pairs.rows),
        inliers=inliers,
        query_spread=_distinct(mine, GRID),
        work_spread=_distinct(theirs, GRID),
        agreement=max(_agreement(visible, theirs), _agreement(back, mine)),
        query=_box(region),
        work=_box(original),
        query_coverage=_area(region),
        work_coverage=_area(original),
    )


def _distinct(points: Floats, cells: int) -> int:
    """Number of cells of a grid over the picture that hold points (n, 2)."""
    places = np.clip((points * cells).astype(np.int64), 0, cells - 1)
    return len(np.unique(places @ (1, cells)))


def _agreement(expected: Floats, found: Floats) -> float:
    """Of the places at which keypoints are expected, the part at which some are found, 0..1."""
    every = np.concatenate([expected, found])
    low, extent = every.min(axis=0), np.maximum(np.ptp(every, axis=0), 1e-6)
    occupied, all_places = (_distinct((points - low) / extent, GRID) for points in (found, expected))
    return min(1.0, occupied / max(all_places, 1))


def _name(matrix: Floats, point: Floats) -> str:
    """Name the transform by what it does to directions around a point."""
    if np.abs(matrix[2, :2]).max() > _FLAT:
        return "perspective"
    linear = _linear(matrix, point)
    for name, pattern in _LINEAR.items():
        along = (linear * pattern)[pattern != 0]
        if along.min() > 0 and np.abs(linear[pattern == 0]).max() < _UPRIGHT * along.min():
            return name
    return "affine"


def _visible(query: _Side, work: _Side, matrix: Floats) -> Floats:
    """Where the reference has keypoints (n, 2), in 0..1, that a true copy would show.

    What is described around them lies inside both pictures, and its size is one that the query has. The two
    sides may change places, with the inverse matrix.
    """
    moved, depth = _project(matrix, work.centres)
    grown = np.sqrt(np.abs(np.linalg.det(matrix)) / np.maximum(np.abs(depth), 1e-6) ** 3)
    sizes = work.sizes * grown
    seen = np.flatnonzero(
        (depth > 0)
        & _inside(work.centres, work.sizes, work.aspect)
        & _inside(moved, sizes, query.aspect)
        & (sizes > query.sizes.min())
        & (sizes < query.sizes.max())
    )
    places: Floats = work.centres[seen] / (work.aspect, 1.0)
    return places


def _inside(centres: Floats, sizes: Floats, aspect: float) -> Flags:
    """Tell which keypoints' patches lie inside the picture."""
    reach = (sizes * _REACH)[:, np.newaxis]
    inside: Flags = np.all((centres >= reach) & (centres <= (aspect, 1.0) - reach), axis=1)
    return inside


def _frame(visible: Floats, theirs: Floats) -> Floats:
    """Corners (4, 2) of the part of the reference that the inliers speak for.

    The reference's frame, cut down on each side to the inliers where so many visible keypoints lie beyond
    them that their absence cannot be chance: there it was cropped or covered.
    """
    low, high = theirs.min(axis=0), theirs.max(axis=0)
    within = int(np.count_nonzero(np.all((visible >= low) & (visible <= high), axis=1)))
    rate = min(1.0, len(theirs) / max(within, 1))
    before, after = np.sum(visible < low, axis=0), np.sum(visible > high, axis=0)
    left, top = np.where(before * rate > _MISSED, low, 0.0)
    right, bottom = np.where(after * rate > _MISSED, high, 1.0)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _clipped(polygon: Floats) -> Floats:
    """The part (n, 2) of a convex polygon that lies in 0..1 (Sutherland and Hodgman); maybe empty."""
    corners = [(float(x), float(y)) for x, y in polygon]
    for axis, bound, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        kept: list[tuple[float, float]] = []
        for here, there in zip(corners, corners[1:] + corners[:1], strict=True):
            first, second = (sign * (place[axis] - bound) for place in (here, there))
            if first >= 0:
                kept.append(here)
            if first * second < 0:
                share = first / (first - second)
                kept.append((here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])))
        corners = kept
    return np.array(corners).reshape(-1, 2).clip(0, 1)


def _box(polygon: Floats) -> Box:
    """The box around points in 0..1."""
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    left, top = min(left, 1 - _THIN), min(top, 1 - _THIN)
    return Box(float(left), float(top), float(max(right, left + _THIN)), float(max(bottom, top + _THIN)))


def _area(polygon: Floats) -> float:
    """Area of a polygon, at most 1."""
    x, y = polygon.T
    return float(min(1.0, abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2))
