// Sound, higher or lower, as long as before: two taps that glide along a short delay line, one fading in where
// the other fades out. Good enough to hear whether two sounds are the same.

const SECONDS = 0.09; // between the nearest and the farthest tap: shorter is rough, longer echoes

registerProcessor("shift", class extends AudioWorkletProcessor {
  static get parameterDescriptors() {
    return [{ name: "ratio", defaultValue: 1, minValue: 0.25, maxValue: 4, automationRate: "k-rate" }];
  }

  constructor() {
    super();
    this.span = Math.round(SECONDS * sampleRate);
    this.lines = [];
    this.at = 0;
    this.phase = 0;
  }

  process([input], [output], { ratio: [ratio] }) {
    const length = this.span + 2;
    const step = (1 - ratio) / this.span;
    const { at, phase } = this;
    output.forEach((samples, channel) => {
      const line = (this.lines[channel] ||= new Float32Array(length));
      const heard = input[channel] || input[0];
      let [to, glide] = [at, phase];
      for (let i = 0; i < samples.length; i += 1) {
        line[to] = heard ? heard[i] : 0;
        const other = (glide + 0.5) % 1;
        samples[i] = Math.sin(Math.PI * glide) ** 2 * tap(line, to, glide * this.span)
          + Math.sin(Math.PI * other) ** 2 * tap(line, to, other * this.span);
        to = (to + 1) % length;
        glide = (glide + step + 1) % 1;
      }
      [this.at, this.phase] = [to, glide];
    });
    return true;
  }
});

function tap(line, now, delay) {
  const whole = Math.floor(delay);
  const part = delay - whole;
  const near = (now - whole + line.length) % line.length;
  const far = (near - 1 + line.length) % line.length;
  return line[near] * (1 - part) + line[far] * part;
}
