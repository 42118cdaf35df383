// Requests to the admin port, and its stream of messages.
//
// The stream is read by fetch, not by EventSource, which cannot show a token.

import type { Problem } from "./wire";

const TOKEN = "snapback.token";

/** The token that is shown, as long as this tab lives. */
export function token(): string | null {
  return sessionStorage.getItem(TOKEN);
}

export function keepToken(text: string | null): void {
  if (text === null) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, text);
}

/** A request that was answered with a problem. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(problem?.detail ?? `the admin port answered ${status}`);
  }
}

/** Whether the admin port could not be reached at all. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof TypeError;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask("GET", path, undefined, signal)).json() as Promise<T>;
}

export async function post<T>(path: string, body?: unknown, signal?: AbortSignal, reason?: string): Promise<T> {
  return (await ask("POST", path, body, signal, reason)).json() as Promise<T>;
}

export async function remove(path: string, reason: string): Promise<void> {
  await ask("DELETE", path, undefined, undefined, reason);
}

async function ask(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  reason?: string,
): Promise<Response> {
  const headers = shown();
  if (body !== undefined) headers.set("content-type", "application/json");
  // A header holds no more than Latin-1; what is beyond it is no reason to lose the rest.
  if (reason) headers.set("x-snapback-reason", reason.replace(/[^\x20-\x7e]/g, "?"));
  const answer = await fetch(path, {
    method,
    headers,
    cache: "no-store",
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  });
  if (!answer.ok) throw await refused(answer);
  return answer;
}

function shown(): Headers {
  const headers = new Headers();
  const text = token();
  if (text) headers.set("authorization", `Bearer ${text}`);
  return headers;
}

async function refused(answer: Response): Promise<Refused> {
  const problem = await answer.json().catch(() => null);
  return new Refused(answer.status, problem as Problem | null);
}

/** Reads server-sent events until the stream ends or is aborted. */
export async function follow(
  path: string,
  signal: AbortSignal,
  heard: (kind: string, data: string) => void,
  alive: () => void,
): Promise<void> {
  const answer = await fetch(path, { headers: shown(), signal, cache: "no-store" });
  if (!answer.ok || !answer.body) throw await refused(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const { kind, data } = message(block);
      if (data !== "") heard(kind, data);
    }
  }
}

/** One message of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
function message(block: string): { kind: string; data: string } {
  let kind = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const [name, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
    if (name === "event") kind = value;
    else if (name === "data") data.push(value);
  }
  return { kind, data: data.join("\n") };
}
