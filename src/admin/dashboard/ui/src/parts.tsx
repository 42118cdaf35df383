// Small things that pages are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { caller, whyNot } from "./caller";
import { percent, words } from "./format";
import { arrival } from "./router";
import type { State } from "./wire";

type Tone = "calm" | "going" | "wait" | "good" | "bad";

const TONES: Record<State, Tone> = {
  preparing: "calm",
  preparing_batch: "calm",
  retiring_batch: "calm",
  baking: "going",
  holding: "wait",
  holding_batch: "wait",
  paused: "wait",
  termination_wait: "good",
  retiring: "good",
  promoted: "good",
  rolling_back: "bad",
  releasing_batch: "bad",
  restoring: "bad",
  rolled_back: "bad",
  rollback_failed: "bad",
};

export function StateChip({ state }: { state: State }) {
  return <span class={`chip chip-${TONES[state]}`}>{words(state)}</span>;
}

/** How an endpoint's requests divide, as a bar of two colours. */
export function Split({ share, got }: { share: number; got?: number | null }) {
  const said = got === undefined || got === null ? "" : `, got ${percent(got)}`;
  return (
    <span class="split" role="img" aria-label={`green ${percent(share)}${said}`}>
      <span class="split-bar">
        <span class={share > 0 && share < 1 ? "split-green split-both" : "split-green"} ref={(bar) => sized(bar, share)} />
      </span>
      <span class="split-text">
        {percent(share)}
        {said ? <small>{said.replace(", ", " ")}</small> : null}
      </span>
    </span>
  );
}

/** How near an alarm is. */
export function Near({ nearness, label }: { nearness: number; label: string }) {
  const tone = nearness >= 1 ? "bad" : nearness >= 0.5 ? "wait" : "good";
  return (
    <span
      class={`near near-${tone}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(nearness * 100)}
    >
      <span ref={(bar) => sized(bar, nearness)} />
    </span>
  );
}

/** Set here and not as an attribute, which the page's policy forbids. */
export function sized(bar: HTMLElement | null, part: number): void {
  if (bar) bar.style.width = `${Math.min(100, Math.max(0, part * 100))}%`;
}

/** The last minute as a line. */
export function Spark({ values }: { values: number[] }) {
  const top = Math.max(1, ...values);
  const points = values.map((value, index) => `${((index + 60 - values.length) * 1.6).toFixed(1)},${(20 - (value / top) * 17).toFixed(1)}`);
  return (
    <svg class="spark" width="96" height="22" viewBox="0 0 96 22" aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}

interface ActProps {
  children: ComponentChildren;
  onClick: () => void;
  tone?: "plain" | "main" | "bad";
  /** Why it cannot be done now, apart from who asks. */
  why?: string | null;
}

/** A button of something that changes something: it says why it cannot be pressed, and stays reachable so that this can be read. */
export function Act({ children, onClick, tone = "plain", why = null }: ActProps) {
  const reason = whyNot.value ?? why;
  const id = useId();
  return (
    <span class="act">
      <button
        type="button"
        class={`button button-${tone}`}
        aria-disabled={reason !== null}
        aria-describedby={reason ? id : undefined}
        title={reason ?? undefined}
        onClick={() => {
          if (reason === null) onClick();
        }}
      >
        {children}
      </button>
      {reason ? (
        <span id={id} class="unseen">
          {reason}
        </span>
      ) : null}
    </span>
  );
}

/** Says above buttons why they cannot be pressed. */
export function WhyNot() {
  const reason = whyNot.value;
  return reason && caller.value ? <p class="why-not">{reason}</p> : null;
}

export interface Question {
  title: string;
  text: string;
  confirm: string;
  tone: "main" | "bad";
  /** Carries it out; what it throws is shown. */
  go: (reason: string) => Promise<unknown>;
}

/** Asks before something happens, and why it should. */
export function Confirm({ question, onClose }: { question: Question; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const go = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await question.go(reason.trim());
      dialog.current?.close();
    } catch (error) {
      setProblem((error as Error).message);
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={`${id}-title`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <h2 id={`${id}-title`}>{question.title}</h2>
        <p>{question.text}</p>
        <label for={`${id}-reason`}>Reason, for the record</label>
        <textarea
          id={`${id}-reason`}
          rows={2}
          maxLength={1000}
          value={reason}
          placeholder="what made you do this"
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        {problem ? (
          <p class="problem" role="alert">
            {problem}
          </p>
        ) : null}
        <p class="dialog-buttons">
          <button type="button" class="button button-plain" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={`button button-${question.tone}`} disabled={isBusy}>
            {question.confirm}
          </button>
        </p>
      </form>
    </dialog>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** A heading that takes the focus when the page changes. */
export function Title({ children }: { children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (arrival.isFresh) heading.current?.focus();
  }, []);
  return (
    <h1 tabIndex={-1} ref={heading}>
      {children}
    </h1>
  );
}
