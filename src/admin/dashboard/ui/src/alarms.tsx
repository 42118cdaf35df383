// Alarms: what each permits, what it saw, and how near it is.

import { count, percent, words } from "./format";
import { Near } from "./parts";
import type { Alarm, AlarmState, Shift } from "./wire";

interface Shown {
  name: string;
  kind: string;
  rule: string;
  state: AlarmState;
  nearness: number;
  evidence: string;
}

const STATES: Record<AlarmState, [string, string]> = {
  ok: ["good", "ok"],
  alarm: ["bad", "raised"],
  insufficient_data: ["calm", "too little data"],
};

export function Alarms({ shift, isOver = false }: { shift: Shift; isOver?: boolean }) {
  const shown = [
    ...shift.alarms.map(ofAlarm),
    ...shift.thresholds.map((threshold): Shown => ({
      ...threshold,
      kind: "threshold",
      rule: `${words(threshold.metric)} ${threshold.statistic} ${words(threshold.comparison)} ${threshold.bound}, ${threshold.datapoints} of ${threshold.period}`,
      evidence: threshold.text,
    })),
    ...shift.externals.map((external): Shown => ({
      ...external,
      kind: "external",
      rule: "told from outside",
      evidence: external.text,
    })),
  ];
  const budget = shift.failure_budget;
  if (budget) {
    shown.push({
      name: "max_failures",
      kind: "budget",
      rule: `at most ${count(budget.max_failures)} failures that clients saw`,
      state: budget.failures >= budget.max_failures ? "alarm" : "ok",
      nearness: budget.nearness,
      evidence: `${count(budget.failures)} so far`,
    });
  }
  shown.sort((a, b) => b.nearness - a.nearness);
  return (
    <section class="panel" aria-labelledby="alarms">
      <div class="panel-head">
        <h2 id="alarms">Alarms</h2>
        <span class="dim">{isOver ? "as they stood at the end" : "the nearest first; at 100% green gets nothing more"}</span>
      </div>
      {shown.length === 0 ? (
        <p class="empty">The plan has no alarms: nothing but a person takes green back.</p>
      ) : (
        <ul class="alarms">
          {shown.map((alarm) => (
            <li key={`${alarm.kind} ${alarm.name}`} class={`alarm alarm-${alarm.state}`}>
              <span class="alarm-name">
                <b>{alarm.name}</b>
                <small>
                  {alarm.kind}, {alarm.rule}
                </small>
              </span>
              <span class={`chip chip-${STATES[alarm.state][0]}`}>{STATES[alarm.state][1]}</span>
              <span class="alarm-near">
                <Near nearness={alarm.nearness} label={`How near ${alarm.name} is`} />
                <b>{percent(alarm.nearness)}</b>
              </span>
              <span class="alarm-evidence">{alarm.evidence}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function ofAlarm(alarm: Alarm): Shown {
  const what = `${words(alarm.metric)}${alarm.quantile ? ` ${alarm.quantile}` : ""}`;
  const rule = alarm.kind === "guard" ? `${what} below ${alarm.bound}` : `${what} against blue, tolerance ${alarm.bound}`;
  const bad = alarm.metric.includes("rate") ? "failed" : "too slow";
  const green = `green ${count(alarm.failures)} of ${count(alarm.requests)} ${bad} (${percent(alarm.rate)})`;
  const against =
    alarm.blue_requests === null
      ? `${percent(alarm.permitted_rate)} permitted`
      : `blue ${count(alarm.blue_failures ?? 0)} of ${count(alarm.blue_requests)} (${percent(alarm.blue_rate)}), ${percent(alarm.permitted_rate)} permitted`;
  const tipped =
    alarm.recent_requests > 0 && alarm.recent_requests < alarm.requests
      ? `; of the last ${count(alarm.recent_requests)}, ${count(alarm.recent_failures)}`
      : "";
  return { name: alarm.name, kind: alarm.kind, rule, state: alarm.state, nearness: alarm.nearness, evidence: `${green}${tipped}; ${against}; ${alarm.odds}` };
}
