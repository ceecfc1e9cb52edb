// Plane projective geometry: 3 × 3 matrices, row by row.

export const IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1];

export function multiply(a, b) {
  const out = [];
  for (let row = 0; row < 3; row += 1) {
    for (let column = 0; column < 3; column += 1) {
      out.push(a[3 * row] * b[column] + a[3 * row + 1] * b[3 + column] + a[3 * row + 2] * b[6 + column]);
    }
  }
  return out;
}

export function invert(m) {
  const [a, b, c, d, e, f, g, h, i] = m;
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  if (!Number.isFinite(determinant) || Math.abs(determinant) < 1e-12) return null;
  return [
    e * i - f * h, c * h - b * i, b * f - c * e,
    f * g - d * i, a * i - c * g, c * d - a * f,
    d * h - e * g, b * g - a * h, a * e - b * d,
  ].map((value) => value / determinant);
}

export function apply(m, [x, y]) {
  const w = m[6] * x + m[7] * y + m[8];
  return [(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w];
}

// How the map stretches things near a point: the four partial derivatives, row by row.
export function slope(m, [x, y]) {
  const w = m[6] * x + m[7] * y + m[8];
  const [u, v] = apply(m, [x, y]);
  return [(m[0] - u * m[6]) / w, (m[1] - u * m[7]) / w, (m[3] - v * m[6]) / w, (m[4] - v * m[7]) / w];
}

export function scaling(x, y, dx = 0, dy = 0) {
  return [x, 0, dx, 0, y, dy, 0, 0, 1];
}

// The same map as CSS writes it; column by column, with depth.
export function css(m) {
  const n = m.map((value) => value / m[8]);
  return `matrix3d(${[n[0], n[3], 0, n[6], n[1], n[4], 0, n[7], 0, 0, 1, 0, n[2], n[5], 0, n[8]].join(",")})`;
}

export function corners([left, top, right, bottom]) {
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}
