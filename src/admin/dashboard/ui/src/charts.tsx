// The charts of an endpoint, or of a shift: the same moments in all of them.

import type { Signal } from "@preact/signals";
import { Chart, type Line, type Mark } from "./chart";
import { duration, millis, percent, rate } from "./format";
import { errorRates, hasAny, rates, shareGot, shareWanted, type Column } from "./series";
import type { Series, Shift } from "./wire";

interface Props {
  series: Series;
  domain: [number, number];
  marks: Mark[];
  cursor: Signal<number | null>;
  /** Whose bounds are drawn. */
  shift: Shift | null;
  isPinned?: boolean;
}

/** The moments of shifts, as marks. */
export function marksOf(shifts: Shift[]): Mark[] {
  const marks = shifts.flatMap((shift) =>
    shift.transitions.map((transition): Mark => {
      const at = Date.parse(transition.at);
      switch (transition.after) {
        case "rolling_back":
        case "rolled_back":
        case "rollback_failed":
        case "restoring":
        case "releasing_batch":
          return { at, kind: "back", label: transition.after === "rolling_back" ? "snapback" : "blue again" };
        case "promoted":
          return { at, kind: "good", label: "promoted" };
        case "holding":
        case "paused":
        case "holding_batch":
          return { at, kind: "hold", label: transition.after.replace("_batch", "") };
        case "baking":
          return { at, kind: "step", label: transition.share };
        default:
          return { at, kind: "step", label: transition.after.replaceAll("_", " ") };
      }
    }),
  );
  return marks.sort((a, b) => a.at - b.at);
}

export function Charts({ series, domain, marks, cursor, shift, isPinned = false }: Props) {
  const common = { times: series.at_ms, domain, marks, cursor, isPinned };
  const { blue, green } = series;
  const hasGreen = hasAny(green.requests);
  const both = (blue: Column, green: Column): Line[] => {
    const lines: Line[] = [{ label: "blue", kind: "blue", values: blue }];
    return hasGreen ? [...lines, { label: "green", kind: "green", values: green }] : lines;
  };
  const quantiles = (p50: "p50_ms" | "first_token_p50_ms", p99: "p99_ms" | "first_token_p99_ms"): Line[] => {
    const lines: Line[] = [
      { label: "blue p50", kind: "blue-faint", values: blue[p50] },
      { label: "blue p99", kind: "blue", values: blue[p99] },
    ];
    if (!hasGreen) return lines;
    return [
      ...lines,
      { label: "green p50", kind: "green-faint", values: green[p50] },
      { label: "green p99", kind: "green", values: green[p99] },
    ];
  };
  const hasTokens = hasAny(blue.first_token_p50_ms) || hasAny(green.first_token_p50_ms);
  const guard = (metric: string) => shift?.alarms.find((alarm) => alarm.kind === "guard" && alarm.metric === metric);
  const timeBound = (metric: string) => {
    const found = guard(metric);
    const at = found ? duration(found.bound) : null;
    return found && at !== null ? { bound: { at, label: `${found.quantile ?? ""} guard ${found.bound}` } } : {};
  };
  const errorBound = guard("error_rate");
  return (
    <div class="charts">
      {hasGreen ? (
        <Chart
          {...common}
          title="Green's share"
          hint="The share that the plan wants green to have, and the share of requests that it got over five seconds."
          top={0.1}
          format={percent}
          hasLabels
          lines={[
            { label: "wanted", kind: "wanted", values: shareWanted(series), isStep: true },
            { label: "got", kind: "green", values: shareGot(series) },
          ]}
        />
      ) : null}
      <Chart
        {...common}
        title="Requests per second"
        hint="Requests dealt to each fleet."
        top={1}
        format={rate}
        hasLabels={!hasGreen}
        lines={both(rates(series, "blue"), rates(series, "green"))}
      />
      <Chart
        {...common}
        title="Error rate"
        hint="Failures of what was settled over five seconds. Those that blue rescued count against green."
        top={0.01}
        format={percent}
        lines={both(errorRates(series, "blue"), errorRates(series, "green"))}
        {...(errorBound
          ? { bound: { at: Number.parseFloat(errorBound.bound) / 100, label: `guard ${errorBound.bound}` } }
          : {})}
      />
      <Chart
        {...common}
        title="Latency"
        hint="From dispatch to the last byte of the answer, over five seconds."
        top={1}
        format={millis}
        lines={quantiles("p50_ms", "p99_ms")}
        {...timeBound("latency")}
      />
      {hasTokens ? (
        <Chart
          {...common}
          title="First token"
          hint="From dispatch to the first token of a stream, over five seconds."
          top={1}
          format={millis}
          lines={quantiles("first_token_p50_ms", "first_token_p99_ms")}
          {...timeBound("first_token")}
        />
      ) : null}
      {hasAny(series.nearness) ? (
        <Chart
          {...common}
          title="Nearest alarm"
          hint="How much of the evidence that the nearest alarm needs there is. At 100% it is raised, and green gets nothing more."
          top={1}
          format={percent}
          lines={[{ label: "evidence", kind: "warm", values: series.nearness }]}
        />
      ) : null}
    </div>
  );
}
