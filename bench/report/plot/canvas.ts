/**
 * A small SVG document: text, lines and shapes with rounded coordinates, so that the same figures give the same bytes. Colours are classes; which colour
 * they mean follows the reader's scheme, light or dark, also where the file is shown as an image.
 */

export type Anchor = "start" | "middle" | "end";

/** Okabe and Ito's order, darkened for a white ground and lightened for a dark one, so that each stands out by 3:1 on both. */
const series = [
  ["#0a5fd0", "#5aa5ff"],
  ["#c2540a", "#ff9a4d"],
  ["#0b7a55", "#3fc796"],
  ["#a3368f", "#e88bd6"],
  ["#8a6d00", "#e0be3a"],
  ["#5b4bc4", "#a99bff"],
  ["#b3261e", "#ff8a80"],
  ["#006f85", "#4fc3dc"],
] as const;
export const colours = series.length;

const light = { ground: "#ffffff", ink: "#1f2328", soft: "#59636e", grid: "#d8dee4", plain: "#6e7781" };
const dark = { ground: "#0d1117", ink: "#e6edf3", soft: "#9198a1", grid: "#30363d", plain: "#9aa4ae" };

/** Characters are counted as so many parts of the font's size: the reader's font isn't known. */
const WIDTH_OF_CHARACTER = 0.56;
export const FONT = 13;

export class Canvas {
  readonly #parts: string[] = [];

  text(x: number, y: number, text: string, kind: string, anchor: Anchor = "start"): void {
    this.#parts.push(`<text x="${at(x)}" y="${at(y)}" class="${kind}" text-anchor="${anchor}">${escape(text)}</text>`);
  }

  /** Turned by a quarter, to read along a vertical axis. */
  vertical(x: number, y: number, text: string, kind: string): void {
    const turn = `transform="rotate(-90 ${at(x)} ${at(y)})"`;
    this.#parts.push(
      `<text x="${at(x)}" y="${at(y)}" class="${kind}" text-anchor="middle" ${turn}>${escape(text)}</text>`,
    );
  }

  line(x1: number, y1: number, x2: number, y2: number, kind: string): void {
    this.#parts.push(`<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" class="${kind}"/>`);
  }

  rect(x: number, y: number, width: number, height: number, kind: string, radius = 0): void {
    const round = radius > 0 ? ` rx="${at(radius)}"` : "";
    this.#parts.push(
      `<rect x="${at(x)}" y="${at(y)}" width="${at(width)}" height="${at(height)}" class="${kind}"${round}/>`,
    );
  }

  polyline(points: readonly (readonly [number, number])[], kind: string): void {
    const list = points.map(([x, y]) => `${at(x)},${at(y)}`).join(" ");
    this.#parts.push(`<polyline points="${list}" class="${kind}"/>`);
  }

  circle(x: number, y: number, radius: number, kind: string): void {
    this.#parts.push(`<circle cx="${at(x)}" cy="${at(y)}" r="${at(radius)}" class="${kind}"/>`);
  }

  /** The whole file. `title` and `description` are what a screen reader says. */
  render(width: number, height: number, title: string, description: string): string {
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${at(width)} ${at(height)}" width="${at(width)}" height="${at(height)}" role="img">`,
      `<title>${escape(title)}</title>`,
      `<desc>${escape(description)}</desc>`,
      `<style>${style()}</style>`,
      `<rect width="${at(width)}" height="${at(height)}" class="ground"/>`,
      ...this.#parts,
      `</svg>`,
      ``,
    ].join("\n");
  }
}

/** Class of the n-th series' lines and marks; -1: plain forwarding, which everything is compared with. Past the last colour, lines are broken. */
export function lineClass(n: number): string {
  if (n < 0) return "line plain";
  return `line s${n % colours}${n >= colours ? ` dash${Math.min(Math.floor(n / colours), 2)}` : ""}`;
}

export function fillClass(n: number): string {
  return n < 0 ? "fill plain" : `fill s${n % colours}`;
}

export function widthOf(text: string, size = FONT): number {
  return text.length * size * WIDTH_OF_CHARACTER;
}

/** As much of it as fits. */
export function fit(text: string, width: number, size = FONT): string {
  const most = Math.max(1, Math.floor(width / (size * WIDTH_OF_CHARACTER)));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function style(): string {
  const rules = (colour: (name: keyof typeof light) => string, which: 0 | 1) => {
    // No variables: not every viewer of images knows them.
    const of = (name: string, value: string) => `.${name}.line{stroke:${value}}.${name}.fill{fill:${value}}`;
    const each = series.map((pair, i) => of(`s${i}`, pair[which])).join("");
    return (
      `.ground{fill:${colour("ground")}}.head,.label{fill:${colour("ink")}}.soft{fill:${colour("soft")}}` +
      `.grid{stroke:${colour("grid")}}.axis{stroke:${colour("soft")}}.one{stroke:${colour("ink")}}` +
      `.whisker{stroke:${colour("ink")}}${of("plain", colour("plain"))}${each}`
    );
  };
  return (
    `text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:${FONT}px}` +
    `.title{font-size:17px;font-weight:600}.head{font-weight:600}.soft{font-size:12px}` +
    `.grid,.axis{stroke-width:1}.one{stroke-width:1.5;stroke-dasharray:2 3}.whisker{stroke-width:1.5}` +
    `.line{fill:none;stroke-width:2;stroke-linejoin:round}` +
    `.dash1{stroke-dasharray:7 3}.dash2{stroke-dasharray:2 3}` +
    rules((name) => light[name], 0) +
    `@media (prefers-color-scheme:dark){${rules((name) => dark[name], 1)}}`
  );
}

function at(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`a coordinate is ${value}`);
  // No "-0".
  return String(Math.round(value * 10) / 10 || 0);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
