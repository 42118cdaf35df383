// A shift is begun: a plan as a form or as text, and what it can find, as it is typed.

import { parse } from "smol-toml";
import { useEffect, useState } from "preact/hooks";
import { get, post, Refused } from "./api";
import { whyNot } from "./caller";
import { PlanForm } from "./form";
import { watch } from "./live";
import { Lint } from "./lint";
import { Act, Title, WhyNot } from "./parts";
import { firstPlan, planOf } from "./plan";
import { planText } from "./replay";
import { to } from "./router";
import type { Endpoint, Plan, Problem, Queued, Seen, Shift } from "./wire";

type Mode = "form" | "toml" | "json";
const MODES: [Mode, string][] = [
  ["form", "Form"],
  ["toml", "TOML"],
  ["json", "JSON"],
];

/** What a check of the plan came to. */
export type Checked =
  | { is: "waiting" }
  | { is: "lacking"; what: string }
  | { is: "fits"; shift: Shift | null }
  | { is: "refused"; problem: Problem | null; text: string };

/** So long after the last key the plan is checked. */
const REST_MS = 250;

export function StartPage({ name }: { name: string }) {
  const [endpoint, setEndpoint] = useState<Endpoint | null>(null);
  const [last, setLast] = useState<Shift | null>(null);
  const [plan, setPlan] = useState<Plan>(firstPlan);
  const [mode, setMode] = useState<Mode>("form");
  const [text, setText] = useState("");
  const [textProblem, setTextProblem] = useState<string | null>(null);
  const [traffic, setTraffic] = useState("");
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const path = `/v1/endpoints/${encodeURIComponent(name)}`;
  const { checked, isOld } = useChecked(`${path}/shifts`, plan, traffic);
  useEffect(() => void (document.title = `Start a shift of ${name} · Snapback`), [name]);
  useEffect(() => {
    get<{ shifts: Shift[] }>(`${path}/shifts`).then(
      ({ shifts }) => setLast(shifts.find((shift) => shift.undoes === null) ?? null),
      () => {},
    );
  }, [path]);
  // What runs while somebody types matters to what happens when they press the button.
  useEffect(
    () =>
      watch({
        path: `/v1/live?endpoint=${encodeURIComponent(name)}`,
        opened: () => {},
        heard: (kind, data) => {
          if (kind === "endpoint") setEndpoint((JSON.parse(data) as Seen).endpoint);
        },
        gone: setProblem,
      }),
    [name],
  );
  const write = (as: Mode, from: Plan) => {
    setTextProblem(null);
    if (as === "toml") setText(planText(from));
    if (as === "json") setText(JSON.stringify(from, null, 2));
  };
  const choose = (next: Mode) => {
    write(next, plan);
    setMode(next);
  };
  const take = (next: Plan) => {
    setPlan(next);
    write(mode, next);
  };
  const typed = (text: string) => {
    setText(text);
    try {
      const read: unknown = mode === "toml" ? parse(text) : JSON.parse(text);
      if (read === null || typeof read !== "object" || Array.isArray(read)) throw new Error("a plan is a table");
      setPlan(read as Plan);
      setTextProblem(null);
    } catch (error) {
      setTextProblem((error as Error).message);
    }
  };
  const start = async () => {
    setProblem(null);
    try {
      const begun = await post<Shift | Queued>(`${path}/shifts`, plan, undefined, reason);
      location.hash = to.endpoint(name);
      return begun;
    } catch (error) {
      setProblem((error as Error).message);
      return null;
    }
  };
  const why = textProblem
    ? "The text cannot be read."
    : checked.is === "refused"
      ? "The plan has problems."
      : checked.is === "lacking"
        ? checked.what
        : checked.is === "waiting" || isOld
          ? "The plan is being checked."
          : null;
  return (
    <>
      <nav class="crumbs" aria-label="Where you are">
        <a href={to.overview}>Endpoints</a> <span aria-hidden="true">/</span> <a href={to.endpoint(name)}>{name}</a>{" "}
        <span aria-hidden="true">/</span> start a shift
      </nav>
      <div class="head">
        <Title>Start a shift of {name}</Title>
        {endpoint ? (
          <span class="versions">
            <i class="dot dot-b" /> {endpoint.blue.version} serves on {endpoint.blue.instances.length} instance
            {endpoint.blue.instances.length === 1 ? "" : "s"}
          </span>
        ) : null}
      </div>
      <WhyNot />
      {endpoint?.running_shift ? (
        <p class="why-not">
          A shift is running. This one is refused, queued behind it, or takes its place, as “If another shift runs” says.
        </p>
      ) : null}
      <div class="columns columns-start">
        <section class="panel" aria-labelledby="plan">
          <div class="panel-head">
            <h2 id="plan">Plan</h2>
            {last ? (
              <button type="button" class="button button-quiet" onClick={() => take(planOf(last))}>
                As in the last shift
              </button>
            ) : null}
            <div class="choices" role="group" aria-label="The plan as">
              {MODES.map(([as, label]) => (
                <button type="button" key={as} aria-pressed={mode === as} onClick={() => choose(as)}>
                  {label}
                </button>
              ))}
            </div>
          </div>
          {mode === "form" ? (
            <PlanForm plan={plan} blue={endpoint} set={take} problems={checked.is === "refused" ? (checked.problem?.problems ?? []) : []} />
          ) : (
            <>
              <label class="unseen" for="plan-text">
                The plan as {mode.toUpperCase()}
              </label>
              <textarea
                id="plan-text"
                class="code"
                rows={Math.max(22, text.split("\n").length + 1)}
                spellcheck={false}
                value={text}
                onInput={(event) => typed(event.currentTarget.value)}
              />
              {textProblem ? <pre class="problem" role="alert">{textProblem}</pre> : null}
            </>
          )}
        </section>
        <div class="sticky">
          <Lint checked={checked} traffic={traffic} setTraffic={setTraffic} />
          <section class="panel" aria-label="Start">
            <label for="reason">Reason, for the record</label>
            <input id="reason" value={reason} maxLength={1000} onInput={(event) => setReason(event.currentTarget.value)} />
            {problem ? (
              <p class="problem" role="alert">
                {problem}
              </p>
            ) : null}
            <p class="dialog-buttons">
              <a class="button button-plain" href={to.endpoint(name)}>
                Cancel
              </a>
              <Act tone="main" why={why} onClick={() => void start()}>
                Start the shift
              </Act>
            </p>
          </section>
        </div>
      </div>
    </>
  );
}

/** What only somebody can know is asked for before anything is checked. */
function lacking(plan: Plan): string | null {
  const { version, instances, provider } = plan.green ?? {};
  const lacks = [
    ...(version ? [] : ["green's version"]),
    ...(provider !== undefined || (Array.isArray(instances) && instances.length > 0) ? [] : ["its instances"]),
  ];
  return lacks.length > 0 ? `Give ${lacks.join(" and ")}; the plan is checked as you type.` : null;
}

/** Checks a plan when nothing more is typed. What came of it is old as soon as something is. */
function useChecked(path: string, plan: Plan, traffic: string): { checked: Checked; isOld: boolean } {
  const [found, setFound] = useState<{ checked: Checked; plan: Plan; traffic: string }>({ checked: { is: "waiting" }, plan, traffic });
  const may = whyNot.value === null;
  useEffect(() => {
    if (!may) return;
    const setChecked = (checked: Checked) => setFound({ checked, plan, traffic });
    const what = lacking(plan);
    if (what) {
      setChecked({ is: "lacking", what });
      return;
    }
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      const query = traffic.trim() === "" ? "" : `&traffic=${encodeURIComponent(traffic.trim())}`;
      try {
        const answer = await post<Shift | Queued>(`${path}?dry_run=true${query}`, plan, abort.signal);
        setChecked({ is: "fits", shift: "steps" in answer ? answer : null });
      } catch (error) {
        if (abort.signal.aborted) return;
        const problem = error instanceof Refused ? error.problem : null;
        setChecked({ is: "refused", problem, text: (error as Error).message });
      }
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [path, plan, traffic, may]);
  return { checked: found.checked, isOld: found.plan !== plan || found.traffic !== traffic };
}
