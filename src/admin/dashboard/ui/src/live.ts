// Keeps a stream open as long as somebody looks, and says how fresh what is shown is.

import { signal } from "@preact/signals";
import { follow, isUnreachable, Refused } from "./api";
import { askForToken } from "./caller";

/** How what is shown came here. */
export type Link =
  | { is: "connecting" }
  | { is: "live"; at: number }
  | { is: "stale"; since: number; why: string };

export const link = signal<Link>({ is: "connecting" });

/** Messages come every second; after so long without one, what is shown is old. */
const SILENCE_MS = 4_000;

/** Between attempts to connect again: soon at first, then rarely. */
const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 5_000;

/** A tab that nobody sees is followed no further after this. */
const HIDDEN_MS = 30_000;

/** What a page does with messages. `opened` comes before the first message of each connection. */
export interface Listener {
  path: string;
  opened(): void;
  heard(kind: string, data: string): void;
  /** There is no such thing, so that asking again would not help. */
  gone?(why: string): void;
}

/** Follows a stream until the returned function is called. */
export function watch(listener: Listener): () => void {
  let isOver = false;
  let abort = new AbortController();
  let lastHeard = Date.now();
  let wake = () => {};
  let hiddenTimer = 0;

  const stale = (why: string) => {
    if (link.value.is !== "stale") link.value = { is: "stale", since: lastHeard, why };
  };
  const silence = setInterval(() => {
    if (document.hidden || Date.now() - lastHeard < SILENCE_MS) return;
    stale("nothing was heard");
    abort.abort();
  }, 1_000);
  const seen = () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = window.setTimeout(() => abort.abort(), HIDDEN_MS);
    else wake();
  };
  document.addEventListener("visibilitychange", seen);

  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const run = async () => {
    let wait = FIRST_WAIT_MS;
    while (!isOver) {
      if (document.hidden && abort.signal.aborted) {
        await rest(LONGEST_WAIT_MS);
        continue;
      }
      abort = new AbortController();
      let isFirst = true;
      try {
        lastHeard = Date.now();
        await follow(
          listener.path,
          abort.signal,
          (kind, data) => {
            if (isFirst) listener.opened();
            isFirst = false;
            wait = FIRST_WAIT_MS;
            listener.heard(kind, data);
            link.value = { is: "live", at: Date.now() };
          },
          () => (lastHeard = Date.now()),
        );
        if (!isOver) stale("the stream ended");
      } catch (error) {
        if (isOver) return;
        if (error instanceof Refused && error.status === 401) {
          stale("a token is needed");
          await askForToken(error.message);
          continue;
        }
        if (error instanceof Refused && (error.status === 404 || error.status === 400)) {
          listener.gone?.(error.message);
          return;
        }
        stale(isUnreachable(error) ? "the admin port cannot be reached" : String((error as Error).message));
      }
      await rest(wait);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  };
  void run();

  return () => {
    isOver = true;
    clearInterval(silence);
    clearTimeout(hiddenTimer);
    document.removeEventListener("visibilitychange", seen);
    abort.abort();
    wake();
  };
}
