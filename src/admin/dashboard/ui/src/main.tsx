// The dashboard: what is above every page, and which page is shown.

import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { token } from "./api";
import { caller, leave, meet, takeToken, tokenWanted } from "./caller";
import { EndpointPage } from "./endpoint";
import { clock, span } from "./format";
import { link } from "./live";
import { Overview } from "./overview";
import { place, to } from "./router";
import { ShiftPage } from "./replay";
import { StartPage } from "./start";
import "./app.css";

type Theme = "auto" | "light" | "dark";
const THEME = "snapback.theme";
const theme = signal<Theme>((localStorage.getItem(THEME) as Theme | null) ?? "auto");

effect(() => {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
  localStorage.setItem(THEME, theme.value);
});

function App() {
  const where = place.value;
  const isKnown = caller.value?.role != null || !caller.value;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={to.overview} aria-label="Snapback, all endpoints">
          <Mark />
          Snapback
        </a>
        <Fresh />
        <span class="top-rest">
          <Who />
          <ThemeChoice />
        </span>
      </header>
      <Stale />
      <main id="main" tabIndex={-1}>
        {!isKnown ? null : where.page === "overview" ? (
          <Overview />
        ) : where.page === "endpoint" ? (
          <EndpointPage key={where.name} name={where.name} />
        ) : where.page === "start" ? (
          <StartPage key={where.name} name={where.name} />
        ) : (
          <ShiftPage key={where.id} id={where.id} />
        )}
      </main>
      <footer class="bottom">
        <a href="/v1/openapi.json">API</a>
        <a href="/metrics">Metrics</a>
        <a href="/readyz">Readiness</a>
        <span>{caller.value ? `snapback ${caller.value.version}` : ""}</span>
      </footer>
      {tokenWanted.value === null ? null : caller.value?.tokens === false ? (
        <p class="stale" role="alert">
          Your certificate is that of nobody in admin.identities. Show another, or have it added there.
        </p>
      ) : (
        <TokenDialog why={tokenWanted.value} />
      )}
    </>
  );
}

function Mark() {
  return (
    <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#1d4ed8" />
      <path d="M6 21h6c4 0 4-10 8-10h6" fill="none" stroke="#6ee7a8" stroke-width="3" stroke-linecap="round" />
      <path d="M26 21H14m4.500-4.500L14 21l4.500 4.500" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

/** Whether what is shown is live. */
function Fresh() {
  const now = link.value;
  const text = now.is === "live" ? "Live" : now.is === "stale" ? "Stale" : "Connecting";
  return (
    <span class={`fresh fresh-${now.is}`} role="status">
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

function Stale() {
  const now = link.value;
  const [, tick] = useState(0);
  useEffect(() => {
    if (now.is !== "stale") return;
    const timer = setInterval(() => tick((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, [now.is]);
  if (now.is !== "stale") return null;
  return (
    <p class="stale" role="alert">
      What you see is from {clock(now.since)}, {span(Date.now() - now.since)} ago: {now.why}. Connecting again…
    </p>
  );
}

function Who() {
  const who = caller.value;
  if (!who || (!who.tokens && who.name === null)) return null;
  if (who.role === null) return <span class="who">no token</span>;
  return (
    <span class="who">
      {who.name} <span class="chip chip-calm">{who.role}</span>
      {token() !== null ? (
        <button type="button" class="button button-quiet" onClick={leave}>
          Leave
        </button>
      ) : null}
    </span>
  );
}

function ThemeChoice() {
  const id = useId();
  return (
    <>
      <label class="unseen" for={id}>
        Colours
      </label>
      <select
        id={id}
        class="theme"
        value={theme.value}
        onChange={(event) => (theme.value = event.currentTarget.value as Theme)}
      >
        <option value="auto">System colours</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </>
  );
}

function TokenDialog({ why }: { why: string }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState(why);
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={`${id}-title`} onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const refusal = await takeToken(text.trim());
          if (refusal) setProblem(refusal);
        }}
      >
        <h2 id={`${id}-title`}>This port asks for a token</h2>
        <p>
          A viewer's token shows everything, an operator's runs shifts. It is kept in this tab alone and forgotten when you
          close it.
        </p>
        <label for={`${id}-token`}>Token</label>
        <input
          id={`${id}-token`}
          type="password"
          autocomplete="off"
          required
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        {problem ? (
          <p class="problem" role="alert">
            {problem}
          </p>
        ) : null}
        <p class="dialog-buttons">
          <button type="submit" class="button button-main">
            Go on
          </button>
        </p>
      </form>
    </dialog>
  );
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const filter = document.getElementById("filter");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
});

void meet();
const root = document.getElementById("app");
if (root) render(<App />, root);
