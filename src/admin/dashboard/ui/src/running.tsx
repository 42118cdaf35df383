// A shift under way: where it is, why, what comes next, and what can be done about it.

import { post } from "./api";
import { clock, duration, fraction, moment, span, words } from "./format";
import { Act, sized, Split, StateChip, type Question } from "./parts";
import { to } from "./router";
import type { Shift } from "./wire";

const PAUSABLE = new Set(["baking", "holding", "termination_wait", "preparing"]);
const BACK = new Set(["rolling_back", "rolled_back", "rollback_failed", "restoring", "releasing_batch"]);

export function RunningShift({ shift, now, ask }: { shift: Shift; now: number; ask: (question: Question) => void }) {
  const isBack = BACK.has(shift.state);
  const until = shift.next.at ? Date.parse(shift.next.at) - now : null;
  return (
    <section class={isBack ? "panel shift shift-back" : "panel shift"} aria-labelledby="shift">
      <div class="panel-head">
        <h2 id="shift">
          {shift.undoes ? "Undoing: " : ""}
          {shift.blue_version} <span aria-label="to">→</span> {shift.green_version}
        </h2>
        <StateChip state={shift.state} />
        <span class="dim">
          {words(String(shift.plan.strategy?.type ?? "steps"))}, begun {clock(shift.started_at)} by {shift.actor}
        </span>
        {shift.id ? (
          <a class="end" href={to.shift(shift.id)}>
            Details and replay
          </a>
        ) : null}
      </div>
      <p class="unseen" aria-live="polite">
        {words(shift.state)}, {shift.step === null ? "before the first step" : `step ${shift.step} of ${shift.steps.length}`}
      </p>
      <p class="explanation">{shift.explanation}</p>
      <Steps shift={shift} until={until} />
      <div class="shift-line">
        <span class="shift-split">
          <small>Green gets</small>
          <Split share={fraction(shift.share)} got={shift.share_got} />
        </span>
        <span class="next">
          <small>Next</small>
          <b>
            {shift.next.what}
            {until !== null && until > 0 ? `, in ${span(until)}` : ""}
          </b>
          {shift.held ? (
            <span class="held">
              {shift.held}
              {shift.held_until ? `, until ${moment(shift.held_until)}` : ""}
            </span>
          ) : null}
        </span>
      </div>
      <Commands shift={shift} ask={ask} />
    </section>
  );
}

/** The steps as a bar each, as long as a bake must last. */
function Steps({ shift, until }: { shift: Shift; until: number | null }) {
  const reached = shift.step ?? 0;
  const isBaking = shift.state === "baking";
  return (
    <ol class="steps" aria-label="Steps">
      {shift.steps.map((step, index) => {
        const bake = duration(step.bake) ?? 0;
        const number = index + 1;
        const isNow = number === reached;
        const part =
          number < reached ? 1 : !isNow ? 0 : isBaking && until !== null && bake > 0 ? 1 - until / bake : isBaking ? 0 : 1;
        return (
          <li
            key={number}
            class={isNow ? "step step-now" : number < reached ? "step step-past" : "step"}
            aria-current={isNow ? "step" : undefined}
          >
            <span class="step-bar">
              <span ref={(bar) => sized(bar, part)} />
            </span>
            <b>{step.share}</b> <small>{step.bake === "0s" ? "no bake" : step.bake}</small>
            {step.approval ? <small> then approval</small> : null}
          </li>
        );
      })}
    </ol>
  );
}

function Commands({ shift, ask }: { shift: Shift; ask: (question: Question) => void }) {
  const path = `/v1/shifts/${encodeURIComponent(shift.id ?? "")}`;
  const isBack = BACK.has(shift.state);
  const isPaused = shift.state === "paused";
  const back = isBack ? "It is going back already." : null;
  const pause = isBack ? back : PAUSABLE.has(shift.state) ? null : `A shift that is ${words(shift.state)} cannot be paused.`;
  const waits = isPaused || shift.state === "holding" ? null : "Nothing holds it.";
  const command = (name: string, question: Omit<Question, "go">, body = {}): Question => ({
    ...question,
    go: (reason) => post(`${path}/${name}`, { reason, ...body }),
  });
  return (
    <div class="commands">
      {isPaused ? (
        <Act
          why={waits}
          onClick={() =>
            ask(
              command("resume", {
                title: "Resume the shift?",
                text: "It goes on from this step, which bakes anew if its bake was not over.",
                confirm: "Resume",
                tone: "main",
              }),
            )
          }
        >
          Resume
        </Act>
      ) : (
        <Act
          why={pause}
          onClick={() =>
            ask(
              command("pause", {
                title: "Pause the shift?",
                text: `Green keeps ${shift.share} and its alarms go on looking; nothing else happens until you resume.`,
                confirm: "Pause",
                tone: "main",
              }),
            )
          }
        >
          Pause
        </Act>
      )}
      <Act
        why={back ?? (shift.state === "baking" ? null : "No bake is under way.")}
        onClick={() =>
          ask(
            command(
              "promote",
              {
                title: `Skip what is left of the bake of step ${shift.step}?`,
                text: "The next step begins at once if every alarm is clear.",
                confirm: "Skip the bake",
                tone: "main",
              },
              { skip: "bake", step: shift.step },
            ),
          )
        }
      >
        Skip this bake
      </Act>
      <Act
        why={back}
        onClick={() =>
          ask(
            command("promote", {
              title: `Promote ${shift.green_version} now?`,
              text: "All bakes that are left, approvals and the termination wait are skipped: green gets everything and blue goes.",
              confirm: "Promote",
              tone: "main",
            }),
          )
        }
      >
        Promote
      </Act>
      <Act
        tone="bad"
        why={back}
        onClick={() =>
          ask(
            command("abort", {
              title: `Abort the shift to ${shift.green_version}?`,
              text: `All traffic goes back to ${shift.blue_version} with the next request. Running requests finish.`,
              confirm: "Abort",
              tone: "bad",
            }),
          )
        }
      >
        Abort
      </Act>
    </div>
  );
}
