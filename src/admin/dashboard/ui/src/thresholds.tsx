// The fields of thresholds: a statistic of each period against one bound, as CloudWatch has it.

import { Choice, Gone, Problems, Text, type KeyProblem } from "./fields";
import type { Plan } from "./wire";

type Threshold = NonNullable<Plan["threshold"]>[number];

/** What is measured, and where one begins with it. */
const BEGIN: Record<string, { bound: string | number; statistic?: string }> = {
  latency: { bound: "300ms", statistic: "p90" },
  first_byte: { bound: "300ms", statistic: "p90" },
  first_token: { bound: "300ms", statistic: "p90" },
  token_gap: { bound: "100ms", statistic: "p90" },
  error_rate: { bound: "1%" },
  client_error_rate: { bound: "5%" },
  requests: { bound: 1 },
  failures: { bound: 10 },
};
const SIDES = ["above", "at_least", "below", "at_most"];
const MISSING = ["missing", "ignore", "breaching", "not_breaching"];

export function Thresholds({ plan, set, problems }: { plan: Plan; set: (plan: Plan) => void; problems: KeyProblem[] }) {
  const all = plan.threshold ?? [];
  const put = (threshold: Threshold[]) => set({ ...plan, threshold });
  return (
    <fieldset>
      <legend>Thresholds: a statistic of each period, as CloudWatch judges it</legend>
      {all.map((threshold, index) => (
        <Fields
          key={index}
          threshold={threshold}
          set={(next) => put(all.map((other, place) => (place === index ? next : other)))}
          remove={() => put(all.filter((_, place) => place !== index))}
        />
      ))}
      <Problems problems={problems} />
      <button type="button" class="button button-quiet" onClick={() => put([...all, firstThreshold(all)])}>
        + Threshold
      </button>
    </fieldset>
  );
}

function Fields({ threshold, set, remove }: { threshold: Threshold; set: (threshold: Threshold) => void; remove: () => void }) {
  const side = SIDES.find((side) => threshold[side] !== undefined && threshold[side] !== null) ?? "above";
  const bound = threshold[side] ?? "";
  const change = (what: object) => set({ ...threshold, ...what });
  return (
    <>
      <div class="row row-alarm">
        <Text label="Name" value={threshold.name ?? ""} set={(name) => change({ name })} problems={[]} />
        <Choice label="Metric" of={Object.keys(BEGIN)} value={threshold.metric ?? ""} set={(metric) => set(measuring(threshold, metric, side))} />
        {BEGIN[threshold.metric ?? ""]?.statistic ? (
          <Text label="Statistic" value={threshold.statistic ?? ""} set={(statistic) => change({ statistic })} problems={[]} />
        ) : null}
        <Gone what={`threshold ${threshold.name ?? ""}`} press={remove} />
      </div>
      <div class="row row-alarm">
        <Choice
          label="Breaches"
          of={SIDES}
          value={side}
          set={(other) => {
            const { [side]: _bound, ...rest } = threshold;
            set({ ...rest, [other]: bound });
          }}
        />
        <Text
          label="Bound"
          value={String(bound)}
          // A bound of requests or failures is a number.
          set={(text) => change({ [side]: /^\d+$/.test(text) ? Number(text) : text })}
          problems={[]}
        />
        <Text label="Period" value={threshold.period ?? ""} set={(period) => change({ period })} problems={[]} />
        <Text label="Datapoints" value={threshold.datapoints ?? "1 of 1"} set={(datapoints) => change({ datapoints })} problems={[]} />
        <Choice label="No samples" of={MISSING} value={threshold.missing ?? "missing"} set={(missing) => change({ missing })} />
      </div>
    </>
  );
}

/** The same threshold for another metric; a bound in another unit would mean nothing. */
function measuring(threshold: Threshold, metric: string, side: string): Threshold {
  const { statistic, ...rest } = threshold;
  const begin = BEGIN[metric];
  const before = BEGIN[threshold.metric ?? ""];
  const isAlike = begin?.statistic !== undefined && before?.statistic !== undefined;
  const next: Threshold = { ...rest, metric, [side]: isAlike ? rest[side] : begin?.bound };
  return begin?.statistic === undefined ? next : { ...next, statistic: statistic ?? begin.statistic };
}

/** One that a plan may begin with, under a name that the plan does not have yet. */
function firstThreshold(all: Threshold[]): Threshold {
  const taken = new Set(all.map((threshold) => threshold.name));
  let name = "slow";
  for (let number = 2; taken.has(name); number += 1) name = `slow_${number}`;
  return { name, metric: "latency", statistic: "p90", above: "300ms", period: "10s", datapoints: "2 of 3" };
}
