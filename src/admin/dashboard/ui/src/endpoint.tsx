// One endpoint: its shift, its traffic, its alarms, its instances, and what happened.

import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Alarms } from "./alarms";
import { get, post, remove } from "./api";
import { Charts, marksOf } from "./charts";
import { capitalised, moment, percent, rate } from "./format";
import { Instances } from "./instances";
import { watch } from "./live";
import { Act, Confirm, Empty, Title, WhyNot, type Question } from "./parts";
import { RunningShift } from "./running";
import { to } from "./router";
import { joined, nothing } from "./series";
import { Shifts, Timeline } from "./timeline";
import type { Endpoint, History, JournalEvent, Seen, Series, Shift } from "./wire";

/** As many as the admin port keeps. */
const POINTS = 300;

/** A chart of the last seconds alone would be all noise. */
const LEAST_MS = 60_000;

/** Events that are shown without asking for more. */
const EVENTS = 400;

export interface Watched {
  seen: Signal<Seen | null>;
  series: Signal<Series>;
  /** The running shift from its beginning. */
  track: Signal<Series>;
  shifts: Signal<Shift[]>;
  events: Signal<JournalEvent[]>;
  older: Signal<number | null>;
  gone: Signal<string | null>;
}

export function EndpointPage({ name }: { name: string }) {
  const watched = useWatched(name);
  const [question, setQuestion] = useState<Question | null>(null);
  const cursor = useSignal<number | null>(null);
  const range = useSignal<"minutes" | "shift">("minutes");
  useEffect(() => void (document.title = `${name} · Snapback`), [name]);
  const seen = watched.seen.value;
  if (watched.gone.value) {
    return (
      <>
        <Title>{name}</Title>
        <Empty>{capitalised(watched.gone.value)}</Empty>
        <p>
          <a href={to.overview}>All endpoints</a>
        </p>
      </>
    );
  }
  if (!seen) {
    return (
      <>
        <Title>{name}</Title>
        <Empty>Nothing has been heard yet.</Empty>
      </>
    );
  }
  const { endpoint, shift } = seen;
  const now = Date.parse(seen.at);
  const isShift = shift !== null && range.value === "shift";
  const series = isShift ? watched.track.value : watched.series.value;
  const first = watched.series.value.at_ms[0] ?? now;
  const from = isShift
    ? Math.min(Date.parse(shift.started_at), now - 10_000)
    : Math.min(Math.max(first, now - POINTS * 1_000), now - LEAST_MS);
  const told = [...(shift ? [shift] : []), ...watched.shifts.value.filter((past) => past.id !== shift?.id)];
  return (
    <>
      <nav class="crumbs" aria-label="Where you are">
        <a href={to.overview}>Endpoints</a> <span aria-hidden="true">/</span> {name}
      </nav>
      <div class="head">
        <Title>{name}</Title>
        <Versions endpoint={endpoint} />
        <span class="head-acts">
          <Acts endpoint={endpoint} shifts={watched.shifts.value} ask={setQuestion} />
        </span>
      </div>
      <WhyNot />
      {endpoint.freeze ? (
        <p class="frozen">
          Frozen by {endpoint.freeze.actor} since {moment(endpoint.freeze.since)}
          {endpoint.freeze.reason ? `: ${endpoint.freeze.reason}` : ""}. No shift begins or goes on.
        </p>
      ) : null}
      {shift ? <RunningShift shift={shift} now={now} ask={setQuestion} /> : null}
      {endpoint.queue.length > 0 ? <Queue endpoint={endpoint} ask={setQuestion} /> : null}
      <section class="panel" aria-labelledby="traffic">
        <div class="panel-head">
          <h2 id="traffic">Traffic</h2>
          {shift ? (
            <div class="choices" role="group" aria-label="How much of it">
              <button type="button" aria-pressed={!isShift} onClick={() => (range.value = "minutes")}>
                Five minutes
              </button>
              <button type="button" aria-pressed={isShift} onClick={() => (range.value = "shift")}>
                This shift
              </button>
            </div>
          ) : null}
        </div>
        <Charts series={series} domain={[from, now]} marks={marksOf(told)} cursor={cursor} shift={shift} />
      </section>
      {shift ? <Alarms shift={shift} /> : null}
      <Instances endpoint={endpoint} />
      <div class="columns">
        <Shifts shifts={watched.shifts.value} now={now} />
        <Timeline events={watched.events.value} now={now} older={watched.older.value} more={() => void more(name, watched)} />
      </div>
      {question ? <Confirm question={question} onClose={() => setQuestion(null)} /> : null}
    </>
  );
}

/** Follows an endpoint while its page is shown. */
function useWatched(name: string): Watched {
  const watched: Watched = {
    seen: useSignal<Seen | null>(null),
    series: useSignal(nothing()),
    track: useSignal(nothing()),
    shifts: useSignal<Shift[]>([]),
    events: useSignal<JournalEvent[]>([]),
    older: useSignal<number | null>(null),
    gone: useSignal<string | null>(null),
  };
  const tracked = useRef<string | null>(null);
  useEffect(() => {
    let timer = 0;
    const soon = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => void readShifts(name, watched), 150);
    };
    const stop = watch({
      path: `/v1/live?endpoint=${encodeURIComponent(name)}`,
      opened: () => {
        watched.series.value = nothing();
        tracked.current = null;
        void readShifts(name, watched);
        void readEvents(name, watched);
      },
      heard: (kind, data) => {
        if (kind === "endpoint") {
          const seen = JSON.parse(data) as Seen;
          watched.series.value = joined(watched.series.value, seen.series, POINTS);
          const id = seen.shift?.id ?? null;
          if (id !== tracked.current) {
            tracked.current = id;
            watched.track.value = nothing();
            if (id) void readTrack(id, watched, () => tracked.current === id);
          } else if (id) {
            watched.track.value = joined(watched.track.value, seen.series, 2 * POINTS);
          }
          watched.seen.value = seen;
        } else if (kind === "journal") {
          const event = JSON.parse(data) as JournalEvent;
          watched.events.value = [event, ...watched.events.value].slice(0, EVENTS);
          if (event.kind.startsWith("shift.")) soon();
        } else if (kind === "missed") {
          void readEvents(name, watched);
          soon();
        }
      },
      gone: (why) => (watched.gone.value = why),
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [name]);
  return watched;
}

async function readShifts(name: string, watched: Watched): Promise<void> {
  const answer = await get<{ shifts: Shift[] }>(`/v1/endpoints/${encodeURIComponent(name)}/shifts`).catch(() => null);
  if (answer) watched.shifts.value = answer.shifts;
}

async function readEvents(name: string, watched: Watched): Promise<void> {
  const answer = await get<History>(`/v1/history?endpoint=${encodeURIComponent(name)}`).catch(() => null);
  if (!answer) return;
  watched.events.value = answer.events;
  watched.older.value = answer.next;
}

async function more(name: string, watched: Watched): Promise<void> {
  const path = `/v1/history?endpoint=${encodeURIComponent(name)}&before=${watched.older.value ?? 0}`;
  const answer = await get<History>(path).catch(() => null);
  if (!answer) return;
  watched.events.value = [...watched.events.value, ...answer.events];
  watched.older.value = answer.next;
}

async function readTrack(id: string, watched: Watched, isWanted: () => boolean): Promise<void> {
  const track = await get<Series>(`/v1/shifts/${encodeURIComponent(id)}/series`).catch(() => null);
  if (track && isWanted()) watched.track.value = joined(track, watched.track.value, 2 * POINTS);
}

function Versions({ endpoint }: { endpoint: Endpoint }) {
  const { blue, green } = endpoint;
  const requests = blue.recent.rate + (green?.recent.rate ?? 0);
  return (
    <span class="versions versions-large">
      <i class="dot dot-b" /> {blue.version}
      {green ? (
        <>
          {" "}
          <span aria-label="to">→</span> <i class="dot dot-g" /> {green.version}
        </>
      ) : null}
      <small>
        {rate(requests)} requests/s, {percent(blue.recent.error_rate)} failing
      </small>
    </span>
  );
}

function Acts({ endpoint, shifts, ask }: { endpoint: Endpoint; shifts: Shift[]; ask: (question: Question) => void }) {
  const path = `/v1/endpoints/${encodeURIComponent(endpoint.name)}`;
  const isOwnFreeze = endpoint.freeze?.endpoint === endpoint.name;
  const isFrozen = endpoint.freeze !== null;
  const promoted = shifts.find((shift) => shift.state === "promoted");
  const why = endpoint.freeze
    ? "The endpoint is frozen."
    : endpoint.running_shift
      ? "A shift is running."
      : !promoted
        ? "No shift was promoted, so there is no version before."
        : null;
  return (
    <>
      <Act
        onClick={() =>
          ask({
            title: isFrozen ? `Unfreeze ${endpoint.name}?` : `Freeze ${endpoint.name}?`,
            text: isFrozen
              ? "Shifts begin and go on again."
              : "No shift begins or goes on until you unfreeze it. Rolling back is never kept from happening.",
            confirm: isFrozen ? "Unfreeze" : "Freeze",
            tone: "main",
            go: (reason) => post(`${path}/${isFrozen ? "unfreeze" : "freeze"}`, { reason }),
          })
        }
        why={isFrozen && !isOwnFreeze ? "All endpoints are frozen: unfreeze them all on the first page." : null}
      >
        {isFrozen ? "Unfreeze" : "Freeze"}
      </Act>
      <Act
        why={why}
        onClick={() =>
          ask({
            title: `Undo the last promotion of ${endpoint.name}?`,
            text: `A shift goes from ${endpoint.blue.version} back to ${promoted?.blue_version ?? "the version before"}, all at once, under the last plan's alarms.`,
            confirm: "Undo",
            tone: "bad",
            go: (reason) => post(`${path}/undo`, { reason }),
          })
        }
      >
        Undo
      </Act>
      <a class="button button-main" href={to.start(endpoint.name)}>
        Start a shift
      </a>
    </>
  );
}

function Queue({ endpoint, ask }: { endpoint: Endpoint; ask: (question: Question) => void }) {
  return (
    <section class="panel" aria-labelledby="queue">
      <h2 id="queue">Waiting shifts</h2>
      <ol class="queue">
        {endpoint.queue.map((queued) => (
          <li key={queued.id}>
            <code>{queued.id}</code> by {queued.actor}, waits for {queued.waits_for}
            <Act
              onClick={() =>
                ask({
                  title: `Take ${queued.id} out of the queue?`,
                  text: "It has not begun, so nothing is rolled back.",
                  confirm: "Take it out",
                  tone: "bad",
                  go: (reason) => remove(`/v1/shifts/${encodeURIComponent(queued.id)}`, reason),
                })
              }
            >
              Cancel
            </Act>
          </li>
        ))}
      </ol>
    </section>
  );
}
