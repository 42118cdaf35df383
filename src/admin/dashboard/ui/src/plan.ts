// Plans: where one begins, and what its form has fields for.

import type { Plan, Shift } from "./wire";

export interface Field {
  key: string;
  label: string;
  hint: string;
  begin: string;
}

const BAKE: Field = { key: "bake", label: "Bake", hint: "how long a step must stay healthy, such as 2m", begin: "2m" };
const FINAL: Field = { key: "final_bake", label: "Final bake", hint: "how long 100% must stay healthy", begin: "5m" };

/** The ways to write a plan, and the fields of each. `steps` has a list of its own. */
export const STRATEGIES: Record<string, { label: string; says: string; fields: Field[] }> = {
  canary: {
    label: "Canary",
    says: "A small share first, then everything.",
    fields: [{ key: "share", label: "First share", hint: "of the requests, such as 5%", begin: "5%" }, BAKE, FINAL],
  },
  linear: {
    label: "Linear",
    says: "Equal steps up to everything.",
    fields: [{ key: "step", label: "Step", hint: "what each step adds, such as 10%", begin: "25%" }, BAKE, FINAL],
  },
  all_at_once: { label: "All at once", says: "Everything in one step; blue stays warm.", fields: [FINAL] },
  rolling: {
    label: "Rolling",
    says: "Batches of instances, where there is no room for a second fleet.",
    fields: [
      { key: "batch", label: "Batch", hint: "instances, a number or a part such as 33%", begin: "33%" },
      { key: "bake", label: "Bake", hint: "how long a batch must stay healthy", begin: "5m" },
    ],
  },
  steps: { label: "Own steps", says: "Shares and bakes of your own, with approvals.", fields: [] },
};

export const METRICS = ["error_rate", "client_error_rate", "latency", "first_token", "token_gap"];

export function isTime(metric: string | undefined): boolean {
  return metric === "latency" || metric === "first_token" || metric === "token_gap";
}

/** A strategy of another type that keeps what both have. */
export function strategyOf(type: string, before: Plan["strategy"]): NonNullable<Plan["strategy"]> {
  if (type === "steps") {
    return { type, steps: [{ share: "10%", bake: "2m" }, { share: "50%", bake: "5m", approval: true }, { share: "100%", bake: "5m" }] };
  }
  const fields = STRATEGIES[type]?.fields ?? [];
  return { type, ...Object.fromEntries(fields.map(({ key, begin }) => [key, before?.[key] ?? begin])) };
}

/** A plan that is as careful as most should be, and asks for what only somebody knows. */
export function firstPlan(): Plan {
  return {
    green: { version: "", instances: [] },
    strategy: strategyOf("canary", undefined),
    max_failures: 50,
    guard: [
      { metric: "error_rate", below: "1%" },
      { metric: "latency", quantile: "p99", below: "1s" },
    ],
    regression: [{ metric: "error_rate", tolerance: "1.5x" }],
  };
}

/** The plan of a shift for another green. */
export function planOf(shift: Shift): Plan {
  const { green, ...rest } = structuredClone(shift.plan);
  const { version: _version, instances: _instances, ...fleet } = green ?? {};
  return { green: { version: "", instances: [], ...fleet }, ...rest };
}

/** Addresses as they are typed: one a line, or with commas. */
export function addresses(text: string): string[] {
  return text.split(/[\s,]+/).filter((address) => address !== "");
}

export function addressText(plan: Plan): string {
  const instances = plan.green?.instances ?? [];
  return instances.map((instance) => (typeof instance === "string" ? instance : instance.address)).join("\n");
}
