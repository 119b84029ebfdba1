/**
 * Interfaces come and go: a container's veth, a PPP line, a USB card. What the gateway wants is a name; where it hangs is a number.
 * On any change of links the wanted state is compared with the one that is, and a name that has a new number gets its programs anew.
 * Until then, some milliseconds after it appeared, a new interface has no programs; the iptables rules, which know it by name, send what leaves
 * a LAN by eface to user space, and hold back what this box may not send.
 */
import type { GovernedInterface } from "./clients.js";
import type { Datapath } from "./datapath.js";
import { describe } from "./errors.js";
import type { Link, LinkWatcher } from "./interfaces.js";
import { Interfaces } from "./interfaces.js";
import { governedLan, wantedAttachments } from "./layout.js";
import type { Log } from "./log.js";
import type { Plan } from "./preflight.js";

export interface ReattacherOptions {
  readonly plan: Plan;
  readonly datapath: Datapath;
  /** Kept up to date: the runner reads it. */
  readonly interfaces: Map<number, GovernedInterface>;
  /** Called when it has changed. */
  readonly changed: () => void;
  readonly log: Log;
}

export class Reattacher {
  readonly #options: ReattacherOptions;
  readonly #interfaces = new Interfaces();
  readonly #watcher: LinkWatcher;
  /** By name, as they are attached now. */
  readonly #current: Map<string, Link>;
  #running = false;
  #again = false;
  #closed = false;

  constructor(options: ReattacherOptions) {
    this.#options = options;
    this.#current = new Map([...options.plan.lan, options.plan.eface].map((link) => [link.name, link]));
    this.#watcher = this.#interfaces.watch(() => void this.reconcile());
  }

  async reconcile(): Promise<void> {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#again && !this.#isClosed()) {
        this.#again = false;
        const links = await this.#interfaces.links();
        if (!this.#isClosed()) this.#compare(links);
      }
    } catch (error) {
      this.#options.log.error({}, `the interfaces can't be read: ${describe(error)}`);
    } finally {
      this.#running = false;
    }
  }

  /** A call, so that the compiler doesn't believe the answer beyond an await. */
  #isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher.close();
    this.#interfaces.close();
  }

  #compare(links: readonly Link[]): void {
    const { plan, log } = this.#options;
    for (const name of [...plan.options.lan, plan.options.eface]) {
      const now = links.find((link) => link.name === name);
      const before = this.#current.get(name);
      if (before && now?.index === before.index) continue;
      try {
        // Renamed: still there under another name, still to be governed.
        if (before && !now && links.some((link) => link.index === before.index)) continue;
        if (before) {
          this.#leave(before);
          this.#current.delete(name);
          log.warn({ interface: name }, `interface ${name} is gone`);
        }
        if (now) {
          this.#enter(now);
          this.#current.set(name, now);
          log.info({ interface: name, ifindex: now.index }, `interface ${name} is back and governed`);
        }
      } catch (error) {
        log.error({ interface: name }, `interface ${name} can't be governed: ${describe(error)}`);
      }
    }
  }

  #enter(link: Link): void {
    const { plan, datapath, interfaces, changed } = this.#options;
    if (link.name !== plan.options.eface) {
      const governed = governedLan(link, plan.spec.id);
      interfaces.set(link.index, governed);
      changed();
      datapath.setInterface(governed);
    }
    for (const one of this.#attachmentsOf(link)) datapath.attachments.attach(one);
    // After its gate: `output` takes it for the sign that there is one.
    if (link.name === plan.options.eface) datapath.setEgress(link.index);
  }

  #leave(link: Link): void {
    const { plan, datapath, interfaces, changed } = this.#options;
    for (const one of this.#attachmentsOf(link)) datapath.attachments.detach(one);
    if (link.name === plan.options.eface) {
      datapath.removeEgress(link.index);
    } else {
      interfaces.delete(link.index);
      changed();
      datapath.removeInterface(link.index);
    }
  }

  #attachmentsOf(link: Link): ReturnType<typeof wantedAttachments> {
    const { plan } = this.#options;
    const eface = link.name === plan.options.eface ? link : plan.eface;
    const lan = plan.lan.map((one) => (one.name === link.name ? link : one));
    return wantedAttachments(lan, eface).filter((one) => one.interfaceName === link.name);
  }
}
