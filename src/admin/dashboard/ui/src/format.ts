// Figures and moments in words.

const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(number: number): string {
  return counts.format(number);
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 10) return perSecond.toFixed(1);
  if (perSecond < 10_000) return counts.format(Math.round(perSecond));
  return `${(perSecond / 1_000).toFixed(1)}k`;
}

/** A fraction as a percentage: two digits that tell something. */
export function percent(fraction: number | null | undefined): string {
  if (fraction === null || fraction === undefined) return "–";
  const value = fraction * 100;
  if (value === 0) return "0%";
  if (value < 0.1) return `${value.toFixed(2)}%`;
  if (value < 10) return `${Number(value.toFixed(1))}%`;
  return `${value > 99.5 && value < 100 ? value.toFixed(1) : value.toFixed(0)}%`;
}

export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${ms.toFixed(0)} ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(2))} s`;
  return span(ms);
}

/** How long, in at most two units. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export function ago(at: string | number, now: number): string {
  const ms = now - (typeof at === "number" ? at : Date.parse(at));
  return ms < 1_500 ? "now" : `${span(ms)} ago`;
}

const clockTime = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dayTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function clock(at: string | number): string {
  return clockTime.format(typeof at === "number" ? at : Date.parse(at));
}

export function moment(at: string | number): string {
  return dayTime.format(typeof at === "number" ? at : Date.parse(at));
}

/** A share such as "5%" as a fraction. */
export function fraction(share: string): number {
  return Number.parseFloat(share) / 100;
}

/** Milliseconds of a duration such as "2m", "1h30m", "250ms"; null for what is none. */
export function duration(text: string): number | null {
  const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text.trim()) return null;
  return parts.reduce((sum, part) => sum + Number(part[1]) * (units[part[2] ?? ""] ?? 0), 0);
}

export function words(name: string): string {
  return name.replaceAll("_", " ");
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
