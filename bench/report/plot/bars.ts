/** Each system as a bar: its figure as a part of plain forwarding's in the same rounds. A system without a figure says why. */
import type { Row } from "../../harness/types.js";
import { short } from "../../stats.js";
import { ratioOf } from "../groups.js";
import { Canvas, FONT, fillClass, fit } from "./canvas.js";
import { MARGIN, WIDTH, pageHead, wrap } from "./frame.js";
import { linear } from "./scale.js";

export interface BarPanel {
  readonly metric: string;
  readonly point: string;
  readonly plain: Row;
  readonly rows: readonly Row[];
}

const BAR = 16;
const STEP = 24;
const LEFT = 276;
const RIGHT = 140;

export interface Style {
  /** As people call the system. */
  readonly titleOf: (system: string) => string;
  /** Which colour: see `lineClass`. */
  readonly colourOf: (system: string) => number;
}

export function renderBars(title: string, how: string, panels: readonly BarPanel[], style: Style): string {
  const canvas = new Canvas();
  let y = pageHead(canvas, title, wrap(how, WIDTH - 2 * MARGIN, 12));
  for (const panel of panels) y = renderPanel(canvas, panel, y + 14, style);
  return canvas.render(WIDTH, y + 16, title, `Ratios to plain forwarding. ${how}`);
}

function renderPanel(canvas: Canvas, { metric, point, plain, rows }: BarPanel, top: number, style: Style): number {
  const { unit, better } = rows[0]!;
  canvas.text(MARGIN, top + 10, fit(`${metric}: ${point}`, WIDTH - 2 * MARGIN), "head");
  canvas.text(MARGIN, top + 28, `ratio to plain forwarding, and ${unit}; ${better} is better`, "soft");
  const most = Math.max(1.1, ...rows.map((row) => ratioOf(row, plain)?.high ?? 0)) * 1.02;
  const x = linear([0, most], { from: LEFT, to: WIDTH - RIGHT });
  const first = top + 40;
  const bottom = first + rows.length * STEP;
  for (const { value, text } of x.ticks) {
    canvas.line(x(value), first, x(value), bottom, "grid");
    canvas.text(x(value), bottom + 16, text, "soft", "middle");
  }
  rows.forEach((row, i) => {
    const y = first + i * STEP + (STEP - BAR) / 2;
    canvas.text(LEFT - 10, y + 12, fit(style.titleOf(row.system), LEFT - MARGIN - 10), "label", "end");
    const ratio = ratioOf(row, plain);
    if (row.median === null || !ratio) {
      canvas.text(
        LEFT + 6,
        y + 12,
        fit(`not measured: ${row.note ?? "no reason given"}`, WIDTH - LEFT - MARGIN, 12),
        "soft",
      );
      return;
    }
    canvas.rect(LEFT, y, Math.max(x(ratio.median) - LEFT, 1), BAR, fillClass(style.colourOf(row.system)), 2);
    const [low, high] = [x(ratio.low), x(ratio.high)];
    if (high - low > 2) canvas.line(low, y + BAR / 2, high, y + BAR / 2, "whisker");
    const text = `${ratio.median.toFixed(2)}   (${short(row.median)})`;
    canvas.text(WIDTH - RIGHT + 14, y + 12, fit(text, RIGHT - MARGIN, FONT), "label");
  });
  canvas.line(LEFT, first, LEFT, bottom, "axis");
  canvas.line(x(1), first - 3, x(1), bottom, "one");
  return bottom + 22;
}
