// Who uses this page, and what they may do.

import { computed, signal } from "@preact/signals";
import { get, keepToken, Refused } from "./api";
import type { Caller } from "./wire";

export const caller = signal<Caller | null>(null);

/** Why a token is asked for; null while none is. */
export const tokenWanted = signal<string | null>(null);

let waiting: (() => void)[] = [];

/** Why this caller can change nothing; null where they can. */
export const whyNot = computed<string | null>(() => {
  const who = caller.value;
  if (who === null) return "Who you are is not known yet.";
  if (who.role === null) return "This needs a token.";
  if (who.role === "viewer") return `${who.name ?? "You"} may look, not change: that takes the role operator.`;
  return null;
});

/** Asks the admin port who this is. */
export async function meet(): Promise<void> {
  try {
    const who = await get<Caller>("/v1/caller");
    caller.value = who;
    if (who.role === null) tokenWanted.value = "";
  } catch (error) {
    if (error instanceof Refused && error.status === 401) tokenWanted.value = error.message;
    // Otherwise the stream, which tries again, says what is wrong.
  }
}

/** Asks for a token and waits until one is there. */
export function askForToken(why: string): Promise<void> {
  tokenWanted.value = why;
  return new Promise((resolve) => waiting.push(resolve));
}

/** Takes a token, if the admin port knows it; otherwise says why not. */
export async function takeToken(text: string): Promise<string | null> {
  keepToken(text);
  try {
    caller.value = await get<Caller>("/v1/caller");
  } catch (error) {
    keepToken(null);
    return (error as Error).message;
  }
  tokenWanted.value = null;
  for (const go of waiting) go();
  waiting = [];
  return null;
}

/** Forgets the token. */
export function leave(): void {
  keepToken(null);
  location.reload();
}
