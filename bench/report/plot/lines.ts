/** Lines: how long connections take, by percentile, and how something grows. */
import { Canvas, fit, lineClass } from "./canvas.js";
import { MARGIN, WIDTH, axes, legend, pageHead, wrap, type Area, type Series } from "./frame.js";
import { logDomain, logarithmic, nines, type Scale } from "./scale.js";

export interface Line extends Series {
  /** Latencies: [percentile, value]; curves: [x, value]. Rising in the first. */
  readonly points: readonly (readonly [number, number])[];
}

export interface LinePanel {
  readonly heading: string;
  readonly xName: string;
  readonly yName: string;
  readonly lines: readonly Line[];
}

const HEIGHT = 280;
const LEFT = MARGIN + 66;

/** Time on a logarithmic axis, percentiles in nines: the further left and the steeper, the better. */
export function renderLatencies(title: string, how: string, panels: readonly LinePanel[]): string {
  return render(title, how, panels, (canvas, area, { lines, xName, yName }) => {
    // What is below a tenth of the median is a few early birds; it would squeeze all else.
    const values = lines.flatMap(({ points }) => points.filter(([p, v]) => p >= 1 && v > 0).map(([, v]) => v));
    const x = logarithmic(logDomain(values), { from: area.left, to: area.right });
    const y = nines({ from: area.bottom, to: area.top });
    axes(canvas, area, x, y, xName, yName);
    for (const { points, colour } of lines) {
      const steps = points.filter(([percentile, value]) => value > 0 && percentile <= 99.99);
      canvas.polyline(steps.map(([percentile, value]) => [x(value), y(percentile)] as const), lineClass(colour)); // prettier-ignore
    }
  });
}

/** Both axes logarithmic: a straight line that rises by one decade a decade is "twice as much costs twice as much". */
export function renderCurves(title: string, how: string, panels: readonly LinePanel[]): string {
  return render(title, how, panels, (canvas, area, { lines, xName, yName }) => {
    const all = lines.flatMap(({ points }) => points);
    const positive = all.map(([at]) => at).filter((at) => at > 0);
    const x = logarithmic(logDomain(positive), { from: area.left + 8, to: area.right - 8 }, all.some(([at]) => at === 0)); // prettier-ignore
    const y = logarithmic(logDomain(all.map(([, value]) => value)), { from: area.bottom, to: area.top });
    axes(canvas, area, x, y, xName, yName);
    for (const { points, colour } of lines) curve(canvas, x, y, points, colour);
  });
}

function curve(canvas: Canvas, x: Scale, y: Scale, points: Line["points"], colour: number): void {
  const places = points.map(([at, value]) => [x(at), y(value)] as const);
  canvas.polyline(places, lineClass(colour));
  for (const [px, py] of places) canvas.circle(px, py, 3.5, lineClass(colour).replace("line", "fill"));
}

function render(
  title: string,
  how: string,
  panels: readonly LinePanel[],
  draw: (canvas: Canvas, area: Area, panel: LinePanel) => void,
): string {
  const canvas = new Canvas();
  let top = pageHead(canvas, title, wrap(how, WIDTH - 2 * MARGIN, 12));
  for (const panel of panels) {
    canvas.text(MARGIN, top + 20, fit(panel.heading, WIDTH - 2 * MARGIN), "head");
    const first = legend(canvas, top + 32, panel.lines) + 4;
    draw(canvas, { left: LEFT, right: WIDTH - MARGIN - 10, top: first, bottom: first + HEIGHT }, panel);
    top = first + HEIGHT + 56;
  }
  return canvas.render(WIDTH, top + 4, title, how);
}
