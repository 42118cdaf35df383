// All endpoints: how each is served now, and which shift.

import { signal } from "@preact/signals";
import { Component } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { post } from "./api";
import { capitalised, count, millis, percent, rate, words } from "./format";
import { link, watch } from "./live";
import { Act, Confirm, Empty, Near, Spark, Split, StateChip, Title, WhyNot, type Question } from "./parts";
import { to } from "./router";
import type { Glance, Glances } from "./wire";

/** Kept while other pages are shown, so that coming back shows something at once. */
const glances = signal<Map<string, Glance>>(new Map());
const trends = new Map<string, number[]>();
let lastTrend = 0;

const IDLE: number[] = [];
const TREND = 60;

type Key = "name" | "rate" | "errors" | "latency" | "health" | "shift";
type Show = "all" | "shifting" | "trouble" | "frozen";

const filter = signal("");
const show = signal<Show>("all");
const sort = signal<{ key: Key; isUp: boolean }>({ key: "name", isUp: true });

function heard(kind: string, data: string): void {
  if (kind !== "glances") return;
  const news = JSON.parse(data) as Glances;
  const next = new Map(glances.value);
  for (const name of news.gone) {
    next.delete(name);
    trends.delete(name);
  }
  for (const glance of news.endpoints) next.set(glance.name, glance);
  for (const [name, values] of Object.entries(news.trends)) trends.set(name, values);
  const at = Date.parse(news.at);
  if (at - lastTrend > 900) {
    lastTrend = at;
    for (const glance of next.values()) lengthen(glance);
  }
  glances.value = next;
}

/** One more second of an endpoint; of one where nothing happens nothing changes. */
function lengthen(glance: Glance): void {
  const now = allRate(glance);
  const before = trends.get(glance.name) ?? IDLE;
  if (now === 0 && before.every((value) => value === 0)) return;
  trends.set(glance.name, [...before, now].slice(-TREND));
}

function allRate(glance: Glance): number {
  return glance.blue.recent.rate + (glance.green?.recent.rate ?? 0);
}

/** Over both fleets. */
function errors(glance: Glance): number {
  const all = allRate(glance);
  if (all === 0) return Math.max(glance.blue.recent.error_rate, glance.green?.recent.error_rate ?? 0);
  const failed = glance.blue.recent.rate * glance.blue.recent.error_rate;
  const green = glance.green?.recent;
  return (failed + (green ? green.rate * green.error_rate : 0)) / all;
}

function slowest(glance: Glance, what: "p50_ms" | "p99_ms"): number | null {
  const times = [glance.blue.recent[what], glance.green?.recent[what] ?? null].filter((time) => time !== null);
  return times.length === 0 ? null : Math.max(...times);
}

function sick(glance: Glance): number {
  const of = (fleet: { instances: number; usable: number } | null) => (fleet ? fleet.instances - fleet.usable : 0);
  return of(glance.blue) + of(glance.green);
}

function isInTrouble(glance: Glance): boolean {
  const isGoingBack = glance.shift?.state === "rolling_back" || glance.shift?.state === "rollback_failed";
  return sick(glance) > 0 || errors(glance) >= 0.01 || isGoingBack;
}

const SHOWS: { show: Show; label: string; fits: (glance: Glance) => boolean }[] = [
  { show: "all", label: "All", fits: () => true },
  { show: "shifting", label: "Shifting", fits: (glance) => glance.shift !== null },
  { show: "trouble", label: "Trouble", fits: isInTrouble },
  { show: "frozen", label: "Frozen", fits: (glance) => glance.frozen },
];

const BY: Record<Key, (glance: Glance) => number | string> = {
  name: (glance) => glance.name,
  rate: allRate,
  errors,
  latency: (glance) => slowest(glance, "p99_ms") ?? -1,
  health: sick,
  shift: (glance) => (glance.shift ? 2 + (glance.shift.nearness ?? 0) : glance.queued > 0 ? 1 : 0),
};

function sorted(all: Glance[]): Glance[] {
  const { key, isUp } = sort.value;
  const by = BY[key];
  return all.sort((a, b) => {
    const [left, right] = [by(a), by(b)];
    const order = left < right ? -1 : left > right ? 1 : 0;
    return order === 0 ? a.name.localeCompare(b.name) : isUp ? order : -order;
  });
}

export function Overview() {
  const [question, setQuestion] = useState<Question | null>(null);
  useEffect(() => watch({ path: "/v1/live", opened: () => (glances.value = new Map()), heard }), []);
  useEffect(() => void (document.title = "Endpoints · Snapback"), []);
  const all = [...glances.value.values()];
  const wanted = filter.value.trim().toLowerCase();
  const fits = SHOWS.find((choice) => choice.show === show.value)?.fits ?? (() => true);
  const texts = (glance: Glance) => [glance.name, glance.blue.version, glance.green?.version ?? ""];
  const rows = sorted(
    all.filter((glance) => fits(glance) && texts(glance).some((text) => text.toLowerCase().includes(wanted))),
  );
  const running = all.filter((glance) => glance.shift !== null);
  return (
    <>
      <div class="head">
        <Title>Endpoints</Title>
        <span class="head-acts">
          <FreezeAll all={all} ask={setQuestion} />
        </span>
      </div>
      <WhyNot />
      <Tiles all={all} running={running.length} />
      {running.length > 0 ? <Running running={running} /> : null}
      <div class="filters">
        <label class="unseen" for="filter">
          Filter by name or version
        </label>
        <input
          id="filter"
          type="search"
          placeholder="Filter by name or version ( / )"
          value={filter.value}
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
        <div class="choices" role="group" aria-label="Which endpoints">
          {SHOWS.map((choice) => (
            <button
              type="button"
              key={choice.show}
              aria-pressed={show.value === choice.show}
              onClick={() => (show.value = choice.show)}
            >
              {choice.label} <small>{all.filter(choice.fits).length}</small>
            </button>
          ))}
        </div>
      </div>
      <Table rows={rows} />
      {rows.length === 0 ? (
        <Empty>
          {all.length > 0
            ? "No endpoint fits the filter."
            : link.value.is === "live"
              ? "No endpoints yet: declare one in the configuration file, or by PUT /v1/endpoints/{name}."
              : "Nothing has been heard yet."}
        </Empty>
      ) : null}
      {question ? <Confirm question={question} onClose={() => setQuestion(null)} /> : null}
    </>
  );
}

function FreezeAll({ all, ask }: { all: Glance[]; ask: (question: Question) => void }) {
  const isFrozen = all.length > 0 && all.every((glance) => glance.frozen);
  const freeze: Question = {
    title: "Freeze all endpoints?",
    text: "No shift begins or goes on until you unfreeze. Rolling back is never kept from happening.",
    confirm: "Freeze all",
    tone: "main",
    go: (reason) => post("/v1/freeze", { reason }),
  };
  const thaw: Question = {
    title: "Unfreeze all endpoints?",
    text: "Shifts go on where they were held. Endpoints that are frozen on their own stay so.",
    confirm: "Unfreeze all",
    tone: "main",
    go: (reason) => post("/v1/unfreeze", { reason }),
  };
  return <Act onClick={() => ask(isFrozen ? thaw : freeze)}>{isFrozen ? "Unfreeze all" : "Freeze all"}</Act>;
}

function Tiles({ all, running }: { all: Glance[]; running: number }) {
  const requests = all.reduce((sum, glance) => sum + allRate(glance), 0);
  const failed = all.reduce((sum, glance) => sum + allRate(glance) * errors(glance), 0);
  const bad = all.reduce((sum, glance) => sum + sick(glance), 0);
  const part = requests > 0 ? failed / requests : 0;
  const tiles: [string, string, boolean][] = [
    ["Endpoints", count(all.length), false],
    ["Requests per second", rate(requests), false],
    ["Failing", percent(part), part >= 0.01],
    ["Shifts running", count(running), false],
    ["Instances out", count(bad), bad > 0],
  ];
  return (
    <dl class="tiles">
      {tiles.map(([label, figure, isBad]) => (
        <div key={label} class={isBad ? "tile tile-bad" : "tile"}>
          <dt>{label}</dt>
          <dd>{figure}</dd>
        </div>
      ))}
    </dl>
  );
}

/** So many running shifts are shown large; the table has the others. */
const CARDS = 6;

function Running({ running }: { running: Glance[] }) {
  const nearest = [...running].sort((a, b) => (b.shift?.nearness ?? 0) - (a.shift?.nearness ?? 0)).slice(0, CARDS);
  // Which ones are shown goes by nearness; where they stand does not, or they would jump.
  nearest.sort((a, b) => a.name.localeCompare(b.name));
  return (
    <section aria-label="Running shifts" class="cards">
      {nearest.map((glance) =>
        glance.shift ? (
          <a class="card" key={glance.name} href={to.endpoint(glance.name)}>
            <span class="card-head">
              <b>{glance.name}</b>
              <StateChip state={glance.shift.state} />
            </span>
            <span class="versions">
              <i class="dot dot-b" /> {glance.blue.version} <span aria-label="to">→</span> <i class="dot dot-g" />{" "}
              {glance.green?.version ?? "…"}
            </span>
            <span class="card-step">
              <small>{stepOf(glance.shift)}</small>
              <Split share={glance.share} />
            </span>
            <span class="card-near">
              <small>nearest alarm</small>
              <Near nearness={glance.shift.nearness ?? 0} label={`How near the nearest alarm of ${glance.name} is`} />
            </span>
          </a>
        ) : null,
      )}
    </section>
  );
}

function stepOf(shift: NonNullable<Glance["shift"]>): string {
  return shift.step === null ? "before the first step" : `step ${shift.step} of ${shift.steps}`;
}

const HEADS: { key: Key | null; label: string; isFigure?: boolean }[] = [
  { key: "name", label: "Endpoint" },
  { key: null, label: "Green" },
  { key: "rate", label: "Requests/s", isFigure: true },
  { key: "errors", label: "Failing", isFigure: true },
  { key: "latency", label: "p50 / p99", isFigure: true },
  { key: "health", label: "Instances" },
  { key: "shift", label: "Shift" },
];

function Table({ rows }: { rows: Glance[] }) {
  const { key, isUp } = sort.value;
  const press = (pressed: Key) => {
    // Figures are looked at from the top, names from the beginning.
    sort.value = pressed === key ? { key, isUp: !isUp } : { key: pressed, isUp: pressed === "name" };
  };
  const heads = useMemo(
    () =>
      HEADS.map((head) => (
        <th
          key={head.label}
          scope="col"
          class={head.isFigure ? "figure" : undefined}
          aria-sort={head.key === key ? (isUp ? "ascending" : "descending") : undefined}
        >
          {head.key === null ? (
            head.label
          ) : (
            <button type="button" onClick={() => press(head.key as Key)}>
              {head.label}
              <span aria-hidden="true" class="arrow">
                {head.key === key ? (isUp ? "↑" : "↓") : ""}
              </span>
            </button>
          )}
        </th>
      )),
    [key, isUp],
  );
  return (
    <div class="table-box">
      <table class="endpoints">
        <caption class="unseen">All endpoints</caption>
        <thead>
          <tr>{heads}</tr>
        </thead>
        <tbody>
          {rows.map((glance) => (
            <Row key={glance.name} glance={glance} trend={trends.get(glance.name) ?? IDLE} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Drawn again only when something of it has changed: there may be hundreds. */
class Row extends Component<{ glance: Glance; trend: number[] }> {
  override shouldComponentUpdate(next: { glance: Glance; trend: number[] }): boolean {
    return next.glance !== this.props.glance || next.trend !== this.props.trend;
  }

  override render() {
    const { glance, trend } = this.props;
    const failing = errors(glance);
    const out = sick(glance);
    const instances = glance.blue.instances + (glance.green?.instances ?? 0);
    return (
      <tr>
        <th scope="row">
          <a href={to.endpoint(glance.name)}>{glance.name}</a>
          <small class="versions">
            <i class="dot dot-b" /> {glance.blue.version}
            {glance.green ? (
              <>
                {" "}
                → <i class="dot dot-g" /> {glance.green.version}
              </>
            ) : null}
          </small>
        </th>
        <td data-label="Green">{glance.green || glance.share > 0 ? <Split share={glance.share} /> : <span class="none">–</span>}</td>
        <td data-label="Requests/s" class="figure">
          <span class="rate">
            <Spark values={trend} />
            {rate(allRate(glance))}
          </span>
        </td>
        <td data-label="Failing" class={failing >= 0.01 ? "figure bad" : "figure"}>
          {allRate(glance) > 0 || failing > 0 ? percent(failing) : <span class="none">–</span>}
        </td>
        <td data-label="p50 / p99" class="figure">
          {millis(slowest(glance, "p50_ms"))} <span class="none">/</span> {millis(slowest(glance, "p99_ms"))}
        </td>
        <td data-label="Instances">
          <span class={out > 0 ? "health health-bad" : "health"}>
            {instances - out} of {instances} up
          </span>
        </td>
        <td data-label="Shift">
          {glance.shift ? (
            <span class="shift-cell">
              <StateChip state={glance.shift.state} /> <small>{stepOf(glance.shift)}</small>
              {glance.shift.nearness !== null ? (
                <Near nearness={glance.shift.nearness} label="How near the nearest alarm is" />
              ) : null}
            </span>
          ) : (
            <span class="none">–</span>
          )}
          {glance.frozen ? <span class="chip chip-ice">{capitalised(words("frozen"))}</span> : null}
          {glance.queued > 0 ? <small> {glance.queued} queued</small> : null}
        </td>
      </tr>
    );
  }
}
