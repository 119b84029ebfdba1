/** From figures to pixels, and the figures that an axis names. */

export interface Scale {
  /** Pixels. Outside of the domain it is cut to its ends. */
  (value: number): number;
  readonly ticks: readonly { readonly value: number; readonly text: string; readonly strong: boolean }[];
}

export interface Range {
  readonly from: number;
  readonly to: number;
}

export function linear([low, high]: readonly [number, number], pixels: Range, wanted = 5): Scale {
  const step = niceStep((high - low) / wanted);
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) ticks.push(i * step);
  const place = (value: number) =>
    pixels.from + (clamp(value, low, high) - low) * ((pixels.to - pixels.from) / (high - low));
  return Object.assign(place, { ticks: ticks.map((value) => ({ value, text: numberText(value), strong: true })) });
}

/** Ticks at the decades, and at 2 and 5 where there are few. `zero`: 0 has a place of its own, half a decade before the rest. */
export function logarithmic([low, high]: readonly [number, number], pixels: Range, zero = false): Scale {
  const [first, last] = [Math.log10(low), Math.log10(high)];
  const room = zero ? 0.5 * Math.max(1, (last - first) / 4) : 0;
  const unit = (pixels.to - pixels.from) / Math.max(last - first + room, 1e-9);
  const place = (value: number) => {
    if (zero && value <= 0) return pixels.from;
    return pixels.from + (Math.log10(clamp(value, low, high)) - first + room) * unit;
  };
  const all = [];
  for (let decade = Math.floor(first); decade <= Math.ceil(last); decade++) {
    for (const factor of [1, 2, 5]) all.push({ value: Number(`${factor}e${decade}`), strong: factor === 1 });
  }
  const inside = all.filter(({ value }) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
  const named = inside.filter(({ strong }) => strong || last - first <= 2.05);
  const ticks = named.map((tick) => ({ ...tick, text: numberText(tick.value) }));
  return Object.assign(place, { ticks: zero ? [{ value: 0, text: "0", strong: true }, ...ticks] : ticks });
}

/** Percentiles, each nine as wide as the one before: what happens to one in a thousand can be seen. */
export function nines(pixels: Range): Scale {
  const depth = (percent: number) => -Math.log10(1 - clamp(percent, 0, 99.99) / 100);
  const place = (percent: number) => pixels.from + ((pixels.to - pixels.from) * depth(percent)) / 4;
  const ticks = [0, 50, 90, 99, 99.9, 99.99].map((value) => ({ value, text: `${value} %`, strong: true }));
  return Object.assign(place, { ticks });
}

/** The decades (or 1, 2, 5 steps) around these values; they must be above 0. */
export function logDomain(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const steps = [1, 2, 5, 10];
  const base = (value: number) => 10 ** Math.floor(Math.log10(value));
  const down = base(low) * Math.max(...steps.filter((step) => step * base(low) <= low * (1 + 1e-9)));
  const up = base(high) * Math.min(...steps.filter((step) => step * base(high) >= high * (1 - 1e-9)));
  return up > down ? [down, up] : [down / 2, up * 2];
}

/** "250", "20k", "1.5M", "0.05"; for axes, where the unit stands in the label. */
export function numberText(value: number): string {
  for (const [size, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${unit}`;
  }
  return String(Number(value.toPrecision(3)));
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
