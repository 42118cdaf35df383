// Columns of points, and what charts make of them.

import type { FleetSeries, Series } from "./wire";

const FLEET: (keyof FleetSeries)[] = [
  "requests",
  "settled",
  "failed",
  "in_flight",
  "p50_ms",
  "p99_ms",
  "first_token_p50_ms",
  "first_token_p99_ms",
];

export type Side = "blue" | "green";
export type Column = (number | null)[];

/** Rates of single seconds jump; over so long they can be read. */
const SMOOTH_MS = 5_000;

function fleet(): FleetSeries {
  return Object.fromEntries(FLEET.map((name) => [name, [] as Column])) as unknown as FleetSeries;
}

export function nothing(): Series {
  return { every_ms: 1_000, at_ms: [], share: [], nearness: [], blue: fleet(), green: fleet() };
}

/** Both, of which the first holds at most so many points; a new object, so that whoever shows it sees the change. */
export function joined(before: Series, fresh: Series, most: number): Series {
  const last = before.at_ms.at(-1) ?? 0;
  const from = fresh.at_ms.findIndex((at) => at > last);
  if (from < 0) return before;
  const join = <T>(a: T[], b: T[]): T[] => [...a, ...b.slice(from)].slice(-most);
  const both = (a: FleetSeries, b: FleetSeries) =>
    Object.fromEntries(FLEET.map((name) => [name, join(a[name], b[name])])) as unknown as FleetSeries;
  return {
    every_ms: before.every_ms,
    at_ms: join(before.at_ms, fresh.at_ms),
    share: join(before.share, fresh.share),
    nearness: join(before.nearness, fresh.nearness),
    blue: both(before.blue, fresh.blue),
    green: both(before.green, fresh.green),
  };
}

/** How long each point stands for. */
function spans(series: Series): number[] {
  return series.at_ms.map((at, index) => {
    const before = series.at_ms[index - 1];
    const span = before === undefined ? series.every_ms : at - before;
    // Over a gap, such as a restart, nothing is known: a point stands for no more than any other.
    return Math.min(span, 2 * series.every_ms);
  });
}

/** Requests a second. */
export function rates(series: Series, side: Side): Column {
  const over = spans(series);
  const requests = series[side].requests;
  return requests.map((here, index) => {
    if (here === null) return null;
    let [sum, span, from] = [here, over[index] ?? 0, index];
    // A change of state makes a point at once; the few requests of a few milliseconds are no rate.
    while (span < 0.9 * series.every_ms && from > 0) {
      from -= 1;
      sum += requests[from] ?? 0;
      span += over[from] ?? 0;
    }
    return (sum * 1_000) / Math.max(span, 500);
  });
}

/** Part of whole over the last seconds before each point; null where there was nothing. */
function parts(series: Series, part: Column, whole: Column): Column {
  let from = 0;
  let [sum, of] = [0, 0];
  return series.at_ms.map((at, index) => {
    sum += part[index] ?? 0;
    of += whole[index] ?? 0;
    while (from < index && at - (series.at_ms[from] ?? 0) >= SMOOTH_MS) {
      sum -= part[from] ?? 0;
      of -= whole[from] ?? 0;
      from += 1;
    }
    return of > 0 && whole[index] !== null ? sum / of : null;
  });
}

/** Failures of what was settled. */
export function errorRates(series: Series, side: Side): Column {
  return parts(series, series[side].failed, series[side].settled);
}

/** Green's part of what was dealt; null while it has no share and gets nothing. */
export function shareGot(series: Series): Column {
  const green = series.green.requests;
  const all = series.blue.requests.map((blue, index) => {
    const share = series.share[index] ?? 0;
    return green[index] === null && share === 0 ? null : (blue ?? 0) + (green[index] ?? 0);
  });
  return parts(series, green, all);
}

/** Green's share wanted; null while there is no green. */
export function shareWanted(series: Series): Column {
  return series.share.map((share, index) => (series.green.requests[index] === null && share === 0 ? null : share));
}

export function hasAny(column: Column): boolean {
  return column.some((value) => value !== null);
}

/** The index of the last point that is not after a moment. */
export function indexAt(times: number[], moment: number): number {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((times[middle] ?? 0) <= moment) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The sum of a column up to an index. */
export function total(column: Column, index: number): number {
  return column.slice(0, index + 1).reduce<number>((sum, value) => sum + (value ?? 0), 0);
}
