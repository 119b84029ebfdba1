/**
 * The programs on the interfaces. TCX links (kernel 6.6 and later) are pinned, so that they outlive us: after a kill -9 the traffic
 * stays governed, and the next start swaps the program under the link in one step. Before 6.6 a clsact filter does the same: it
 * stays anyway, and replacing the same handle and priority is one step too.
 */
import { join } from "node:path";
import type { AttachPoint, BpfProgram, Native, TcxLink } from "../native/types.js";
import { listPins, makePinDir, removePin } from "./bpffs.js";
import { errnoOf } from "./errors.js";

export type ProgramName = "classify" | "watch" | "back" | "gate";

export interface Attachment {
  readonly program: ProgramName;
  readonly interfaceName: string;
  readonly ifindex: number;
  readonly point: AttachPoint;
}

export type AttachMode = "tcx" | "clsact";

/** A link that an earlier run has pinned. */
interface PinnedLink {
  readonly path: string;
  readonly link: TcxLink;
  readonly ifindex: number;
  readonly point: AttachPoint;
  readonly program: ProgramName;
}

/** Priority of our clsact filters: before the ones that people number from 1,000 up or let the kernel number (49152). */
export const clsactPriority = 10;

/** One handle for each instance and program, so that instances share an interface and `clean` finds its own. */
export function clsactHandle(instance: string, program: ProgramName): number {
  // FNV-1a, 24 bits of it; the low byte says which program, so that a handle is never 0.
  let hash = 0x811c9dc5;
  for (const char of instance) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return ((hash & 0x7fffff) << 8) | { classify: 1, watch: 2, gate: 3, back: 4 }[program];
}

export class Attachments {
  readonly #native: Native;
  readonly #instance: string;
  readonly #dir: string;
  readonly #programs: Readonly<Record<ProgramName, BpfProgram>>;
  readonly mode: AttachMode;
  readonly #links = new Map<string, TcxLink>();
  readonly #attached = new Map<string, Attachment>();

  /** `dir`: folder of the pinned links. */
  constructor(
    native: Native,
    instance: string,
    dir: string,
    programs: Readonly<Record<ProgramName, BpfProgram>>,
    mode: AttachMode,
  ) {
    this.#native = native;
    this.#instance = instance;
    this.#dir = dir;
    this.#programs = programs;
    this.mode = mode;
    if (mode === "tcx") makePinDir(dir);
  }

  /**
   * Attach, or swap the program of the link that is there already. The order of `wanted` is the order of the work.
   * Links of an earlier run that nobody wants any more (also those of the other mode) are detached at the end.
   */
  adopt(wanted: readonly Attachment[]): void {
    const old = this.#pinnedLinks();
    for (const attachment of wanted) {
      const key = keyOf(attachment);
      const mine = old.findIndex((pinned) => isAt(pinned, attachment));
      if (this.mode === "tcx" && mine >= 0) {
        const found = old.splice(mine, 1)[0] as PinnedLink;
        found.link.update(this.#programs[attachment.program]);
        this.#links.set(key, found.link);
        this.#attached.set(key, attachment);
      } else {
        this.attach(attachment);
      }
    }
    for (const { link, path } of old) {
      detachLink(link);
      removePin(path);
    }
  }

  attach(attachment: Attachment): void {
    const key = keyOf(attachment);
    const program = this.#programs[attachment.program];
    if (this.mode === "tcx") {
      const link = this.#native.attachTcx(program, attachment.ifindex, attachment.point);
      const path = join(this.#dir, key);
      try {
        removePin(path);
        link.pin(path);
      } catch (error) {
        detachLink(link);
        throw error;
      }
      this.#links.set(key, link);
    } else {
      const handle = clsactHandle(this.#instance, attachment.program);
      this.#native.attachClsact(program, attachment.ifindex, attachment.point, handle, clsactPriority);
    }
    this.#attached.set(key, attachment);
  }

  /** Also when the interface is gone. */
  detach(attachment: Attachment): void {
    const key = keyOf(attachment);
    this.#attached.delete(key);
    if (this.mode === "tcx") {
      const link = this.#links.get(key);
      this.#links.delete(key);
      if (link) detachLink(link);
      removePin(join(this.#dir, key));
    } else {
      removeClsact(this.#native, this.#instance, attachment);
    }
  }

  list(): Attachment[] {
    return [...this.#attached.values()];
  }

  #pinnedLinks(): PinnedLink[] {
    return listPins(this.#dir).flatMap((name) => {
      const path = join(this.#dir, name);
      const program = name.split("_")[0] as ProgramName;
      const link = this.#native.openPinnedLink(path);
      const { ifindex, attachType } = link.info();
      return [{ path, link, ifindex, point: attachType, program }];
    });
  }
}

/** Every link pinned in `dir` is detached and its pin removed: `clean` after a kill -9. */
export function detachPinnedLinks(native: Native, dir: string): void {
  for (const name of listPins(dir)) {
    const path = join(dir, name);
    detachLink(native.openPinnedLink(path));
    removePin(path);
  }
}

/** false: there was none. */
export function removeClsact(native: Native, instance: string, { program, ifindex, point }: Attachment): boolean {
  try {
    return native.detachClsact(ifindex, point, clsactHandle(instance, program), clsactPriority);
  } catch (error) {
    if (errnoOf(error) === "ENODEV") return false;
    throw error;
  }
}

/** The device may be gone (ENODEV, ENOLINK): then the link is detached already. */
function detachLink(link: TcxLink): void {
  try {
    link.detach();
  } catch (error) {
    if (!["ENODEV", "ENOLINK", "ENOENT"].includes(errnoOf(error) ?? "")) throw error;
  } finally {
    link.close();
  }
}

function isAt(pinned: PinnedLink, { program, ifindex, point }: Attachment): boolean {
  return pinned.program === program && pinned.ifindex === ifindex && pinned.point === point;
}

function keyOf({ program, ifindex }: { program: ProgramName; ifindex: number }): string {
  return `${program}_${ifindex}`;
}
