import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RecentStrings } from "../../../src/core/names/recentStrings.js";

describe("RecentStrings", () => {
  it("gives the string of the bytes, whatever came before, also in a single place", () => {
    for (const size of [1, 8]) {
      const recent = new RecentStrings(size);
      for (const text of ["www.x.io", "www.x.io", "www.y.io", "", "www.x.i", "www.x.io", "a\xff"]) {
        const bytes = Buffer.from(`${text}rest`, "latin1");
        assert.equal(recent.get(bytes, text.length), text);
        // It is a string of its own, no view.
        bytes.fill(0x7a);
        assert.equal(recent.get(Buffer.from(text, "latin1"), text.length), text);
      }
    }
  });
});
