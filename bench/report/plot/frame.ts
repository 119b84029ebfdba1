/** What the plots share: the page's head, a legend, axes with their names. */
import { lineClass, widthOf, type Canvas } from "./canvas.js";
import type { Scale } from "./scale.js";

export const WIDTH = 860;
export const MARGIN = 24;

export interface Area {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface Series {
  readonly label: string;
  /** See `lineClass`. */
  readonly colour: number;
}

/** Returns where the rest begins. */
export function pageHead(canvas: Canvas, title: string, lines: readonly string[]): number {
  canvas.text(MARGIN, 36, title, "label title");
  lines.forEach((line, i) => canvas.text(MARGIN, 58 + i * 17, line, "soft"));
  return 58 + lines.length * 17 + 6;
}

/** In rows, as many as are needed. Returns where the rest begins. */
export function legend(canvas: Canvas, top: number, all: readonly Series[]): number {
  let [x, y] = [MARGIN, top + 12];
  for (const { label, colour } of all) {
    const width = 34 + widthOf(label) + 18;
    if (x + width > WIDTH - MARGIN && x > MARGIN) [x, y] = [MARGIN, y + 20];
    canvas.line(x, y - 4, x + 26, y - 4, lineClass(colour));
    canvas.circle(x + 13, y - 4, 3.5, lineClass(colour).replace("line", "fill"));
    canvas.text(x + 34, y, label, "label");
    x += width;
  }
  return y + 16;
}

export function axes(canvas: Canvas, area: Area, x: Scale, y: Scale, xName: string, yName: string): void {
  for (const { value, text, strong } of y.ticks) {
    canvas.line(area.left, y(value), area.right, y(value), "grid");
    if (strong || y.ticks.length < 9) canvas.text(area.left - 8, y(value) + 4, text, "soft", "end");
  }
  for (const { value, text } of x.ticks) {
    canvas.line(x(value), area.top, x(value), area.bottom, "grid");
    canvas.text(x(value), area.bottom + 18, text, "soft", "middle");
  }
  canvas.line(area.left, area.bottom, area.right, area.bottom, "axis");
  canvas.line(area.left, area.top, area.left, area.bottom, "axis");
  canvas.text((area.left + area.right) / 2, area.bottom + 38, xName, "label", "middle");
  canvas.vertical(MARGIN + 2, (area.top + area.bottom) / 2, yName, "label");
}

/** A text in lines that fit the page. */
export function wrap(text: string, width: number, size: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(`${last} ${word}`, size) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
