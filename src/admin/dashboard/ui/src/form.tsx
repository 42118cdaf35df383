// The fields of a plan. What has no field here stays in the plan as it is, and is said.

import { useState } from "preact/hooks";
import { Choice, Field, Gone, Problems, Text, type KeyProblem } from "./fields";
import { addresses, addressText, isTime, METRICS, STRATEGIES, strategyOf } from "./plan";
import { Thresholds } from "./thresholds";
import type { Endpoint, Plan } from "./wire";

interface Props {
  plan: Plan;
  blue: Endpoint | null;
  set: (plan: Plan) => void;
  problems: KeyProblem[];
}

/** Keys that the form has fields for. */
const FIELDS = new Set(["green", "strategy", "guard", "regression", "threshold", "max_failures", "termination_wait", "execution_timeout", "if_running"]);

export function PlanForm({ plan, blue, set, problems }: Props) {
  const type = plan.strategy?.type ?? "canary";
  const known = STRATEGIES[type];
  const of = (key: string) => problems.filter((problem) => problem.key === key || /^[.[]/.test(problem.key.slice(key.length)) && problem.key.startsWith(key));
  const [typed, setTyped] = useState(() => addressText(plan));
  const shownAddresses = addresses(typed).join() === addresses(addressText(plan)).join() ? typed : addressText(plan);
  const green = (change: object) => set({ ...plan, green: { ...plan.green, ...change } });
  const isMade = plan.green?.["provider"] !== undefined;
  const rest = Object.keys(plan).filter((key) => !FIELDS.has(key) && plan[key] !== null);
  return (
    <div class="form">
      <Text
        label="Version of green"
        hint="what it serves, in your words"
        value={plan.green?.version ?? ""}
        set={(version) => green({ version })}
        problems={of("green.version")}
      />
      {isMade ? (
        <p class="dim">Green's instances are made by a provider, which the text has.</p>
      ) : (
        <Field label="Green's instances" hint="host:port, one a line; they must run already" problems={of("green.instances")}>
          {(id) => (
            <textarea
              id={id}
              class="code"
              rows={Math.max(2, shownAddresses.split("\n").length)}
              placeholder={blue?.blue.instances.map((instance) => instance.address).join("\n") ?? "127.0.0.1:9003"}
              value={shownAddresses}
              onInput={(event) => {
                setTyped(event.currentTarget.value);
                green({ instances: addresses(event.currentTarget.value) });
              }}
            />
          )}
        </Field>
      )}
      <Field label="Strategy" hint={known?.says ?? ""} problems={of("strategy.type")}>
        {(id) => (
          <select id={id} value={type} onChange={(event) => set({ ...plan, strategy: strategyOf(event.currentTarget.value, plan.strategy) })}>
            {Object.entries(STRATEGIES).map(([type, { label }]) => (
              <option key={type} value={type}>
                {label}
              </option>
            ))}
          </select>
        )}
      </Field>
      <div class="row">
        {known?.fields.map((field) => (
          <Text
            key={field.key}
            label={field.label}
            hint={field.hint}
            value={String(plan.strategy?.[field.key] ?? "")}
            set={(text) => {
              // A batch of a whole number of instances is a number.
              const value = field.key === "batch" && /^\d+$/.test(text) ? Number(text) : text;
              set({ ...plan, strategy: { ...plan.strategy, [field.key]: value } });
            }}
            problems={of(`strategy.${field.key}`)}
          />
        ))}
      </div>
      {type === "steps" ? <Steps plan={plan} set={set} problems={of("strategy.steps")} /> : null}
      <Guards plan={plan} set={set} problems={of("guard")} />
      <Regressions plan={plan} set={set} problems={of("regression")} />
      <Thresholds plan={plan} set={set} problems={of("threshold")} />
      <div class="row">
        <Text
          label="Most failures"
          hint="that clients see; then it goes back"
          value={plan["max_failures"] == null ? "" : String(plan["max_failures"])}
          set={(text) => set(text === "" ? without(plan, "max_failures") : { ...plan, max_failures: /^\d+$/.test(text) ? Number(text) : text })}
          problems={of("max_failures")}
        />
        <Text
          label="Termination wait"
          hint="how long blue stays warm at the end"
          value={String(plan["termination_wait"] ?? "")}
          set={(text) => set(text === "" ? without(plan, "termination_wait") : { ...plan, termination_wait: text })}
          problems={of("termination_wait")}
        />
        <Text
          label="Ends within"
          hint="by rollback if need be; 2h by default"
          value={String(plan["execution_timeout"] ?? "")}
          set={(text) => set(text === "" ? without(plan, "execution_timeout") : { ...plan, execution_timeout: text })}
          problems={of("execution_timeout")}
        />
        <Field label="If another shift runs" hint="" problems={of("if_running")}>
          {(id) => (
            <select id={id} value={String(plan["if_running"] ?? "refuse")} onChange={(event) => set({ ...plan, if_running: event.currentTarget.value })}>
              <option value="refuse">Refuse this one</option>
              <option value="queue">Queue this one</option>
              <option value="supersede">Take its place</option>
            </select>
          )}
        </Field>
      </div>
      {rest.length > 0 ? <p class="dim">Also in the plan, as the text shows: {rest.join(", ")}.</p> : null}
    </div>
  );
}

function without(plan: Plan, key: string): Plan {
  const { [key]: _gone, ...rest } = plan;
  return rest;
}

function Guards({ plan, set, problems }: Omit<Props, "blue">) {
  const guards = plan.guard ?? [];
  const put = (guards: Plan["guard"]) => set({ ...plan, guard: guards ?? [] });
  return (
    <fieldset>
      <legend>Guards: green goes back once it is clear that it does not keep a bound</legend>
      {guards.map((guard, index) => {
        const change = (what: object) => put(guards.map((other, place) => (place === index ? { ...other, ...what } : other)));
        return (
          <div class="row row-alarm" key={index}>
            <Choice
              label="Metric"
              of={METRICS}
              value={guard.metric ?? ""}
              set={(metric) => {
                const { quantile: _quantile, ...others } = guard;
                const next = isTime(metric) ? { ...others, metric, quantile: guard.quantile ?? "p99", below: isTime(guard.metric) ? guard.below : "1s" } : { ...others, metric, below: isTime(guard.metric) ? "1%" : guard.below };
                put(guards.map((other, place) => (place === index ? (next as NonNullable<Plan["guard"]>[number]) : other)));
              }}
            />
            {isTime(guard.metric) ? (
              <Text label="Quantile" value={guard.quantile ?? ""} set={(quantile) => change({ quantile })} problems={[]} />
            ) : null}
            <Text label="Below" value={guard.below ?? ""} set={(below) => change({ below })} problems={[]} />
            <Gone what={`guard ${guard.metric}`} press={() => put(guards.filter((_, place) => place !== index))} />
          </div>
        );
      })}
      <Problems problems={problems} />
      <button type="button" class="button button-quiet" onClick={() => put([...guards, { metric: "error_rate", below: "1%" }])}>
        + Guard
      </button>
    </fieldset>
  );
}

function Regressions({ plan, set, problems }: Omit<Props, "blue">) {
  const all = plan.regression ?? [];
  const put = (regressions: Plan["regression"]) => set({ ...plan, regression: regressions ?? [] });
  return (
    <fieldset>
      <legend>Regressions: green against blue over the same moments</legend>
      {all.map((regression, index) => {
        const change = (what: object) => put(all.map((other, place) => (place === index ? { ...other, ...what } : other)));
        return (
          <div class="row row-alarm" key={index}>
            <Choice label="Metric" of={METRICS} value={regression.metric ?? ""} set={(metric) => change({ metric })} />
            <Text label="Tolerance" value={regression.tolerance ?? ""} set={(tolerance) => change({ tolerance })} problems={[]} />
            <Gone what={`regression ${regression.metric}`} press={() => put(all.filter((_, place) => place !== index))} />
          </div>
        );
      })}
      <Problems problems={problems} />
      <button type="button" class="button button-quiet" onClick={() => put([...all, { metric: "latency", tolerance: "1.2x" }])}>
        + Regression
      </button>
    </fieldset>
  );
}

type Step = { share: string; bake: string; approval?: boolean };

function Steps({ plan, set, problems }: Omit<Props, "blue">) {
  const steps = (plan.strategy?.["steps"] ?? []) as Step[];
  const put = (steps: Step[]) => set({ ...plan, strategy: { ...plan.strategy, steps } });
  return (
    <fieldset>
      <legend>Steps</legend>
      {steps.map((step, index) => {
        const change = (what: Partial<Step>) => put(steps.map((other, place) => (place === index ? { ...other, ...what } : other)));
        return (
          <div class="row row-alarm" key={index}>
            <Text label="Share" value={step.share} set={(share) => change({ share })} problems={[]} />
            <Text label="Bake" value={step.bake} set={(bake) => change({ bake })} problems={[]} />
            <label class="check">
              <input type="checkbox" checked={step.approval ?? false} onChange={(event) => change({ approval: event.currentTarget.checked })} />
              then approval
            </label>
            <Gone what={`step ${index + 1}`} press={() => put(steps.filter((_, place) => place !== index))} />
          </div>
        );
      })}
      <Problems problems={problems} />
      <button type="button" class="button button-quiet" onClick={() => put([...steps, { share: "100%", bake: "5m" }])}>
        + Step
      </button>
    </fieldset>
  );
}
