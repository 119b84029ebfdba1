/** Every system, in the order of the tables; plain forwarding first. A new one, or a new mode of l7egg, is one line. */
import type { System } from "../harness/types.js";
import { plain } from "./plain.js";

export const systems: readonly System[] = [plain];
