// Which page is shown: the part of the address behind #, so that the server has one page and a reload stays where it was.

import { signal } from "@preact/signals";

export type Place =
  | { page: "overview" }
  | { page: "endpoint"; name: string }
  | { page: "start"; name: string }
  | { page: "shift"; id: string };

function read(): Place {
  const [kind, name, rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (kind === "endpoints" && name) return { page: rest === "start" ? "start" : "endpoint", name };
  if (kind === "shifts" && name) return { page: "shift", id: name };
  return { page: "overview" };
}

export const place = signal<Place>(read());

/** Whether the page has just changed and nothing has been pressed since: then its heading takes the focus, so that whoever reads with
 * their ears is told where they are now. */
export const arrival = { isFresh: false };

addEventListener("hashchange", () => {
  arrival.isFresh = true;
  place.value = read();
  scrollTo(0, 0);
});
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => (arrival.isFresh = false), true);

export const to = {
  overview: "#/",
  endpoint: (name: string) => `#/endpoints/${encodeURIComponent(name)}`,
  start: (name: string) => `#/endpoints/${encodeURIComponent(name)}/start`,
  shift: (id: string) => `#/shifts/${encodeURIComponent(id)}`,
};
