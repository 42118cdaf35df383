// A shift from its beginning to its end: what it came to, and a slider through its time.

import { useSignal, type Signal } from "@preact/signals";
import { stringify } from "smol-toml";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Alarms } from "./alarms";
import { get } from "./api";
import { Charts, marksOf } from "./charts";
import { clock, count, fraction, millis, moment, percent, span, words } from "./format";
import { watch } from "./live";
import { Empty, Near, Split, StateChip, Title } from "./parts";
import { to } from "./router";
import { indexAt, nothing, total } from "./series";
import type { JournalEvent, Series, Shift, State, Transition } from "./wire";

/** A replay takes so long by default, however long the shift took. */
const REPLAY_MS = 20_000;
const FRAME_MS = 50;

/** So much room is left after the end, where the mark of a snapback stands. */
const MARGIN = 0.06;

/** What is known of a running shift is read again so often. */
const READ_AGAIN_S = 3;

export function ShiftPage({ id }: { id: string }) {
  const [shift, setShift] = useState<Shift | null>(null);
  const [series, setSeries] = useState<Series>(nothing());
  const [problem, setProblem] = useState<string | null>(null);
  const endpoint = shift?.endpoint;
  const isRunning = useRef(true);
  isRunning.current = shift?.over === false;
  const read = async () => {
    const path = `/v1/shifts/${encodeURIComponent(id)}`;
    try {
      const [shift, series] = await Promise.all([get<Shift>(path), get<Series>(`${path}/series`)]);
      setShift(shift);
      setSeries(series);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  useEffect(() => void read(), [id]);
  useEffect(() => void (document.title = `${id} · Snapback`), [id]);
  useEffect(() => {
    if (!endpoint) return;
    let seconds = 0;
    return watch({
      path: `/v1/live?endpoint=${encodeURIComponent(endpoint)}`,
      opened: () => {},
      heard: (kind, data) => {
        if (kind === "journal" && (JSON.parse(data) as JournalEvent).shift === id) void read();
        if (kind === "endpoint") seconds += 1;
        if (kind === "endpoint" && isRunning.current && seconds % READ_AGAIN_S === 0) void read();
      },
    });
  }, [id, endpoint]);
  if (!shift) {
    return (
      <>
        <Title>{id}</Title>
        <Empty>{problem ?? "Nothing has been heard yet."}</Empty>
      </>
    );
  }
  return (
    <>
      <nav class="crumbs" aria-label="Where you are">
        <a href={to.overview}>Endpoints</a> <span aria-hidden="true">/</span>{" "}
        <a href={to.endpoint(shift.endpoint)}>{shift.endpoint}</a> <span aria-hidden="true">/</span> {id}
      </nav>
      <div class="head">
        <Title>
          {shift.blue_version} → {shift.green_version}
        </Title>
        <StateChip state={shift.state} />
        <span class="dim">
          {words(String(shift.plan.strategy?.type ?? "steps"))}, {moment(shift.started_at)}, by {shift.actor}
        </span>
      </div>
      <section class="panel" aria-labelledby="report">
        <h2 id="report">Report</h2>
        <p class="explanation">{shift.explanation}</p>
        <Figures shift={shift} />
      </section>
      <Replay shift={shift} series={series} />
      <Alarms shift={shift} isOver={shift.over} />
      {shift.findings.length > 0 ? <Findings shift={shift} /> : null}
      <section class="panel" aria-labelledby="plan">
        <h2 id="plan">Plan</h2>
        <pre class="plan" tabIndex={0}>
          {planText(shift.plan)}
        </pre>
      </section>
    </>
  );
}

/** As its file would have it. */
export function planText(plan: object): string {
  return stringify(withoutNulls(plan)).trimEnd();
}

/** TOML has no null. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined);
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutNulls(inner)]));
}

function Figures({ shift }: { shift: Shift }) {
  const { blue, green } = shift.fleets;
  const took = shift.ended_at ? Date.parse(shift.ended_at) - Date.parse(shift.started_at) : null;
  const figures: [string, string][] = [
    ["Took", took === null ? "still running" : span(took)],
    ["Green's requests", count(green.traffic.requests)],
    ["of them failed", `${count(green.traffic.failed)} (${percent(part(green.traffic.failed, green.traffic.requests))})`],
    ["of these rescued", count(green.traffic.rescued)],
    ["Blue's requests", count(blue.traffic.requests)],
    ["of them failed", `${count(blue.traffic.failed)} (${percent(part(blue.traffic.failed, blue.traffic.requests))})`],
  ];
  if (shift.decision_ms !== null) figures.push(["From breach to decision", millis(shift.decision_ms)]);
  if (shift.publish_to_last_green_dispatch_ms !== null) {
    figures.push(["To green's last request", millis(shift.publish_to_last_green_dispatch_ms)]);
  }
  if (shift.green_responses_to_decision !== null) {
    figures.push(["Green's answers by then", count(shift.green_responses_to_decision)]);
  }
  if (shift.restarts > 0) figures.push(["Restarts of snapback", count(shift.restarts)]);
  return (
    <dl class="figures">
      {figures.map(([label, figure], index) => (
        <div key={index}>
          <dt>{label}</dt>
          <dd>{figure}</dd>
        </div>
      ))}
    </dl>
  );
}

function part(some: number, all: number): number {
  return all === 0 ? 0 : some / all;
}

function Replay({ shift, series }: { shift: Shift; series: Series }) {
  const from = Date.parse(shift.started_at);
  const last = Math.max(series.at_ms.at(-1) ?? 0, ...shift.transitions.map((transition) => Date.parse(transition.at)));
  const until = Math.max(from + 1_000, shift.ended_at ? Date.parse(shift.ended_at) : last);
  const at = useSignal<number | null>(until);
  const [isPlaying, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(0);
  useEffect(() => {
    if (!isPlaying) return;
    const step = speed > 0 ? speed * FRAME_MS : ((until - from) * FRAME_MS) / REPLAY_MS;
    if ((at.value ?? from) >= until) at.value = from;
    const timer = setInterval(() => {
      const next = (at.value ?? from) + step;
      at.value = Math.min(next, until);
      if (next >= until) setPlaying(false);
    }, FRAME_MS);
    return () => clearInterval(timer);
  }, [isPlaying, speed, from, until]);
  const marks = useMemo(() => marksOf([shift]), [shift]);
  return (
    <section class="panel" aria-labelledby="replay">
      <div class="panel-head">
        <h2 id="replay">Replay</h2>
        <span class="dim">move the slider, or press a chart</span>
      </div>
      <div class="player">
        <button type="button" class="button button-main" onClick={() => setPlaying(!isPlaying)}>
          {isPlaying ? "Stop" : "Play"}
        </button>
        <Slider at={at} from={from} until={until} />
        <label class="speed">
          <span class="unseen">Speed</span>
          <select value={speed} onChange={(event) => setSpeed(Number(event.currentTarget.value))}>
            <option value={0}>in 20 s</option>
            <option value={1}>as it was</option>
            <option value={10}>10 times</option>
            <option value={60}>60 times</option>
          </select>
        </label>
      </div>
      <Then shift={shift} series={series} at={at} from={from} />
      {series.at_ms.length === 0 ? (
        <Empty>No figures over time were kept of this shift; its states are replayed all the same.</Empty>
      ) : (
        <Charts series={series} domain={[from, until + (until - from) * MARGIN]} marks={marks} cursor={at} shift={shift} isPinned />
      )}
      <States shift={shift} at={at} from={from} />
    </section>
  );
}

function Slider({ at, from, until }: { at: Signal<number | null>; from: number; until: number }) {
  const now = at.value ?? until;
  return (
    <input
      type="range"
      class="slider"
      aria-label="Moment of the replay"
      aria-valuetext={`${clock(now)}, ${span(now - from)} after the start`}
      min={from}
      max={until}
      step={Math.max(1, Math.round((until - from) / 500))}
      value={now}
      onInput={(event) => (at.value = Number(event.currentTarget.value))}
    />
  );
}

function transitionAt(shift: Shift, at: number): Transition | null {
  const past = shift.transitions.filter((transition) => Date.parse(transition.at) <= at);
  return past.at(-1) ?? null;
}

/** How things stood at the moment of the slider. */
function Then({ shift, series, at, from }: { shift: Shift; series: Series; at: Signal<number | null>; from: number }) {
  const now = at.value ?? from;
  const transition = transitionAt(shift, now);
  const index = series.at_ms.length > 0 && (series.at_ms[0] ?? 0) <= now ? indexAt(series.at_ms, now) : -1;
  const nearness = index < 0 ? null : (series.nearness[index] ?? null);
  const fleet = (side: "blue" | "green") => {
    const requests = total(series[side].requests, index);
    const failed = total(series[side].failed, index);
    return `${count(requests)} requests, ${count(failed)} failed`;
  };
  return (
    <div class="then">
      <div>
        <small>At</small>
        <b>{clock(now)}</b> <small>{span(now - from)} in</small>
      </div>
      <div>
        <small>State</small>
        <StateChip state={(transition?.after ?? "preparing") as State} />
      </div>
      <div class="then-split">
        <small>Green's share</small>
        <Split share={fraction(transition?.share ?? "0%")} />
      </div>
      <div>
        <small>Green so far</small>
        <b>{fleet("green")}</b>
      </div>
      <div>
        <small>Blue so far</small>
        <b>{fleet("blue")}</b>
      </div>
      <div class="then-split">
        <small>Nearest alarm</small>
        {nearness === null ? <span class="none">none looks</span> : <Near nearness={nearness} label="How near the nearest alarm was" />}
      </div>
    </div>
  );
}

function States({ shift, at, from }: { shift: Shift; at: Signal<number | null>; from: number }) {
  const now = transitionAt(shift, at.value ?? from);
  return (
    <ol class="states" aria-label="Changes of state">
      {shift.transitions.map((transition, index) => (
        <li key={index} class={transition === now ? "state-now" : undefined}>
          <button
            type="button"
            aria-current={transition === now}
            onClick={() => (at.value = Date.parse(transition.at))}
          >
            <time dateTime={transition.at}>+{span(Date.parse(transition.at) - from)}</time>
            <StateChip state={transition.after as State} />
            <span>
              {transition.share} to green: {transition.cause}
            </span>
            <small>{transition.actor}</small>
          </button>
        </li>
      ))}
    </ol>
  );
}

function Findings({ shift }: { shift: Shift }) {
  return (
    <section class="panel" aria-labelledby="findings">
      <h2 id="findings">Known of the plan when it began</h2>
      <FindingList findings={shift.findings} />
    </section>
  );
}

export function FindingList({ findings }: { findings: Shift["findings"] }) {
  const tones = { error: "bad", warning: "wait", note: "calm" } as const;
  return (
    <ul class="findings">
      {findings.map((finding, index) => (
        <li key={index}>
          <span class={`chip chip-${tones[finding.severity]}`}>{finding.severity}</span>
          <span>
            <b>{finding.place}</b> {finding.message}
          </span>
        </li>
      ))}
    </ul>
  );
}
