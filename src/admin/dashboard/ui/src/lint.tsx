// What a plan can find with the traffic there is, and what is to be known of it.

import { count, millis, rate } from "./format";
import { Empty } from "./parts";
import { FindingList } from "./replay";
import type { Checked } from "./start";
import type { Forecast } from "./wire";

export function Lint({ checked, traffic, setTraffic }: { checked: Checked; traffic: string; setTraffic: (text: string) => void }) {
  const shift = checked.is === "fits" ? checked.shift : null;
  return (
    <section class="panel" aria-labelledby="lint">
      <div class="panel-head">
        <h2 id="lint">What it can find</h2>
        <label class="traffic">
          at
          <input
            size={9}
            placeholder={shift?.forecast?.traffic.rate != null ? `${rate(shift.forecast.traffic.rate)}/s measured` : "such as 20/s"}
            value={traffic}
            onInput={(event) => setTraffic(event.currentTarget.value)}
          />
        </label>
      </div>
      <p class="unseen" aria-live="polite">
        {summary(checked)}
      </p>
      <div>
        {checked.is === "waiting" ? <Empty>The plan is being checked…</Empty> : null}
        {checked.is === "lacking" ? <Empty>{checked.what}</Empty> : null}
        {checked.is === "refused" ? <Problems checked={checked} /> : null}
        {checked.is === "fits" && !shift ? <Empty>It fits; as another shift runs, it would wait for its turn.</Empty> : null}
        {shift ? (
          <>
            {shift.findings.length === 0 ? (
              <p class="all-well">
                <span class="chip chip-good">clear</span> Nothing in this plan needs a word.
              </p>
            ) : (
              <FindingList findings={shift.findings} />
            )}
            {shift.forecast ? <Steps forecast={shift.forecast} /> : null}
          </>
        ) : null}
      </div>
    </section>
  );
}

/** What is said aloud: a table that is read out at every key would say nothing. */
function summary(checked: Checked): string {
  switch (checked.is) {
    case "waiting":
      return "";
    case "lacking":
      return checked.what;
    case "refused":
      return `The plan has ${Math.max(1, checked.problem?.problems?.length ?? 1)} problems.`;
    case "fits": {
      const findings = checked.shift?.findings.length ?? 0;
      return findings === 0 ? "The plan fits." : `The plan fits, with ${findings} findings.`;
    }
  }
}

function Problems({ checked }: { checked: Extract<Checked, { is: "refused" }> }) {
  const problems = checked.problem?.problems ?? [];
  if (problems.length === 0) return <p class="problem">{checked.text}</p>;
  return (
    <ul class="findings">
      {problems.map((problem, index) => (
        <li key={index}>
          <span class="chip chip-bad">error</span>
          <span>
            <b>{problem.key}</b> {problem.message}
          </span>
        </li>
      ))}
    </ul>
  );
}

function Steps({ forecast }: { forecast: Forecast }) {
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label="Forecast of each step">
      <table class="plain forecast">
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col" class="figure">
              Requests
            </th>
            <th scope="col">Alarm</th>
            <th scope="col">Finds</th>
            <th scope="col" class="figure">
              Would need
            </th>
          </tr>
        </thead>
        <tbody>
          {forecast.steps.map((step) =>
            (step.alarms.length === 0 ? [null] : step.alarms).map((alarm, index) => (
              <tr key={`${step.step} ${alarm?.alarm ?? ""}`} class={index === 0 ? "first" : undefined}>
                {index === 0 ? (
                  <>
                    <th scope="rowgroup" rowSpan={Math.max(1, step.alarms.length)}>
                      <b>{step.share}</b> <small>{step.bake}</small>
                    </th>
                    <td class="figure" rowSpan={Math.max(1, step.alarms.length)}>
                      {step.requests === null ? "–" : count(step.requests)}
                    </td>
                  </>
                ) : null}
                <td>{alarm?.alarm ?? "no alarm"}</td>
                <td>{alarm?.text ?? "–"}</td>
                <td class="figure">
                  {alarm?.needed_requests == null ? "–" : count(alarm.needed_requests)}
                  {alarm?.needed_ms == null ? null : <small> {millis(alarm.needed_ms)}</small>}
                </td>
              </tr>
            )),
          )}
        </tbody>
      </table>
      <p class="dim">
        “Finds” is what a bake finds in 95 of 100 cases; “would need” is how many of green's requests find a green five times as
        bad as permitted.
      </p>
    </div>
  );
}
