// What happened: events, and shifts that are over.

import { ago, clock, moment, span, words } from "./format";
import { Empty, StateChip } from "./parts";
import { to } from "./router";
import type { JournalEvent, Shift } from "./wire";

export function Shifts({ shifts, now }: { shifts: Shift[]; now: number }) {
  return (
    <section class="panel" aria-labelledby="shifts">
      <h2 id="shifts">Shifts</h2>
      {shifts.length === 0 ? (
        <Empty>There was none yet.</Empty>
      ) : (
        <ul class="shifts">
          {shifts.map((shift) => (
            <li key={shift.id ?? ""}>
              <a href={to.shift(shift.id ?? "")}>
                {shift.blue_version} → {shift.green_version}
              </a>
              <StateChip state={shift.state} />
              <small title={moment(shift.started_at)}>
                {ago(shift.started_at, now)}
                {shift.ended_at ? `, took ${span(Date.parse(shift.ended_at) - Date.parse(shift.started_at))}` : ""}, by{" "}
                {shift.actor}
              </small>
              {shift.cause ? <span class="cause">{shift.cause.text}</span> : null}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Timeline(props: { events: JournalEvent[]; now: number; older: number | null; more: () => void }) {
  const { events, now, older, more } = props;
  return (
    <section class="panel" aria-labelledby="timeline">
      <h2 id="timeline">Timeline</h2>
      {events.length === 0 ? <Empty>Nothing has happened yet.</Empty> : null}
      <ol class="timeline" tabIndex={0} aria-label="Events, the newest first">
        {events.map((event) => (
          <li key={event.id} class={`event event-${tone(event)}`}>
            <time dateTime={event.at} title={moment(event.at)}>
              {now - Date.parse(event.at) < 3_600_000 ? clock(event.at) : moment(event.at)}
            </time>
            <span class="event-text">
              <b>{title(event)}</b> {event.cause}
              {event.reason ? <q>{event.reason}</q> : null}
            </span>
            <small>{event.actor}</small>
          </li>
        ))}
      </ol>
      {older !== null && events.length > 0 ? (
        <button type="button" class="button button-plain" onClick={more}>
          Older
        </button>
      ) : null}
    </section>
  );
}

function title(event: JournalEvent): string {
  if (event.kind === "shift.state") {
    const share = event.share && event.after === "baking" ? ` at ${event.share}` : "";
    return `${words(event.after ?? "")}${share}`;
  }
  if (event.kind === "instance.health") return words(event.after ?? "");
  return words(event.kind.replace(".", " "));
}

function tone(event: JournalEvent): string {
  switch (event.after) {
    case "rolling_back":
    case "rolled_back":
    case "rollback_failed":
    case "unhealthy":
      return "bad";
    case "promoted":
    case "healthy":
      return "good";
    case "holding":
    case "paused":
      return "wait";
    default:
      return event.kind.endsWith(".refused") || event.kind.endsWith(".failed") ? "bad" : "calm";
  }
}
