// What the admin port says, as far as it is shown here; `/v1/openapi.json` describes all of it.

export interface Recent {
  rate: number;
  error_rate: number;
  p50_ms: number | null;
  p99_ms: number | null;
  first_token_p50_ms: number | null;
  first_token_p99_ms: number | null;
}

export interface FleetGlance {
  version: string;
  instances: number;
  usable: number;
  in_flight: number;
  recent: Recent;
}

export interface Glance {
  name: string;
  blue: FleetGlance;
  green: FleetGlance | null;
  share: number;
  frozen: boolean;
  queued: number;
  shift: { id: string; state: State; step: number | null; steps: number; nearness: number | null } | null;
}

export interface Glances {
  at: string;
  endpoints: Glance[];
  gone: string[];
  trends: Record<string, number[]>;
}

export interface FleetSeries {
  requests: (number | null)[];
  settled: (number | null)[];
  failed: (number | null)[];
  in_flight: (number | null)[];
  p50_ms: (number | null)[];
  p99_ms: (number | null)[];
  first_token_p50_ms: (number | null)[];
  first_token_p99_ms: (number | null)[];
}

export interface Series {
  every_ms: number;
  at_ms: number[];
  share: number[];
  nearness: (number | null)[];
  blue: FleetSeries;
  green: FleetSeries;
}

export interface Instance {
  address: string;
  weight: number;
  health: "unknown" | "healthy" | "unhealthy";
  ejected: boolean;
  in_flight: number;
}

export interface Traffic {
  requests: number;
  succeeded: number;
  client_errors: number;
  failed: number;
  failures: Record<string, number>;
  client_gone: number;
  shed: number;
  rescued: number;
  in_flight: number;
}

export interface Fleet {
  version: string;
  desired: number | null;
  instances: Instance[];
  waiting: number;
  traffic: Traffic;
  recent: Recent;
}

export interface Freeze {
  endpoint: string | null;
  actor: string;
  reason: string;
  since: string;
}

export interface Queued {
  id: string;
  place: number;
  actor: string;
  waits_for: string;
}

export interface Endpoint {
  name: string;
  origin: string;
  declared: { blue?: PlanFleet; match?: unknown } & Record<string, unknown>;
  share: string;
  generation: number;
  blue: Fleet;
  green: Fleet | null;
  freeze: Freeze | null;
  running_shift: string | null;
  queue: Queued[];
}

export type State =
  | "preparing"
  | "baking"
  | "holding"
  | "paused"
  | "termination_wait"
  | "retiring"
  | "rolling_back"
  | "promoted"
  | "rolled_back"
  | "retiring_batch"
  | "preparing_batch"
  | "holding_batch"
  | "releasing_batch"
  | "restoring"
  | "rollback_failed";

export type AlarmState = "ok" | "alarm" | "insufficient_data";

export interface Alarm {
  name: string;
  kind: "guard" | "regression";
  metric: string;
  quantile: string | null;
  bound: string;
  state: AlarmState;
  requests: number;
  failures: number;
  rate: number | null;
  recent_requests: number;
  recent_failures: number;
  recent_rate: number | null;
  blue_requests: number | null;
  blue_failures: number | null;
  blue_rate: number | null;
  permitted_rate: number;
  nearness: number;
  odds: string;
}

export interface Threshold {
  name: string;
  metric: string;
  statistic: string;
  comparison: string;
  bound: string;
  period: string;
  datapoints: string;
  state: AlarmState;
  nearness: number;
  text: string;
}

export interface External {
  name: string;
  state: AlarmState;
  nearness: number;
  text: string;
}

export interface Transition {
  at: string;
  before: string;
  after: string;
  share: string;
  actor: string;
  cause: string;
}

export interface Finding {
  severity: "error" | "warning" | "note";
  code: string;
  place: string;
  message: string;
}

export interface Forecast {
  traffic: { origin: string; rate: number | null };
  steps: {
    step: number;
    share: string;
    bake: string;
    requests: number | null;
    alarms: { alarm: string; sight: string; text: string; needed_requests: number | null; needed_ms: number | null }[];
  }[];
}

export interface Shift {
  id: string | null;
  endpoint: string;
  actor: string;
  state: State;
  over: boolean;
  blue_version: string;
  green_version: string;
  undoes: string | null;
  plan: Plan;
  steps: { share: string; bake: string; approval: boolean }[];
  step: number | null;
  share: string;
  share_got: number | null;
  cause: { kind: string; alarm: string | null; text: string } | null;
  started_at: string;
  breach_at: string | null;
  decided_at: string | null;
  published_at: string | null;
  last_green_dispatch_at: string | null;
  drained_at: string | null;
  ended_at: string | null;
  decision_ms: number | null;
  publish_to_last_green_dispatch_ms: number | null;
  green_responses_to_decision: number | null;
  green_in_flight_at_decision: number | null;
  restarts: number;
  failure_budget: { failures: number; max_failures: number; nearness: number } | null;
  alarms: Alarm[];
  thresholds: Threshold[];
  externals: External[];
  fleets: { blue: { traffic: Traffic; recent: Recent }; green: { traffic: Traffic; recent: Recent } };
  held: string | null;
  held_until: string | null;
  next: { what: string; at: string | null };
  transitions: Transition[];
  findings: Finding[];
  forecast: Forecast | null;
  explanation: string;
}

export interface Seen {
  at: string;
  endpoint: Endpoint;
  shift: Shift | null;
  series: Series;
}

export interface JournalEvent {
  id: number;
  at: string;
  kind: string;
  endpoint: string | null;
  shift: string | null;
  before: string | null;
  after: string | null;
  share: string | null;
  actor: string;
  peer: string | null;
  cause: string;
  reason: string | null;
}

export interface History {
  events: JournalEvent[];
  next: number | null;
}

export type Role = "viewer" | "operator" | "admin";

export interface Caller {
  tokens: boolean;
  name: string | null;
  role: Role | null;
  version: string;
}

export interface PlanFleet {
  version?: string;
  instances?: (string | { address: string })[];
  [key: string]: unknown;
}

/** A plan as its files have it. What this page has no field for stays as it is. */
export interface Plan {
  green?: PlanFleet;
  strategy?: { type?: string; [key: string]: unknown };
  guard?: { metric?: string; quantile?: string; below?: string; [key: string]: unknown }[];
  regression?: { metric?: string; tolerance?: string; [key: string]: unknown }[];
  threshold?: {
    name?: string;
    metric?: string;
    statistic?: string;
    period?: string;
    datapoints?: string;
    missing?: string;
    [key: string]: unknown;
  }[];
  [key: string]: unknown;
}

export interface Problem {
  title: string;
  status: number;
  detail: string;
  problems?: { key: string; message: string }[];
}
