// A chart of lines over time, drawn as SVG. Charts that share a cursor show the same moment.

import type { Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { clock } from "./format";
import { indexAt, type Column } from "./series";

export interface Line {
  label: string;
  /** Which colour and stroke it has; see `.line-*` in the styles. */
  kind: "blue" | "green" | "blue-faint" | "green-faint" | "wanted" | "warm";
  values: Column;
  /** Whether it holds its value until the next point, as shares do. */
  isStep?: boolean;
}

export interface Mark {
  at: number;
  kind: "step" | "hold" | "back" | "good";
  label: string;
}

interface Props {
  title: string;
  /** What is measured, for whoever hovers over the title. */
  hint: string;
  times: number[];
  domain: [number, number];
  lines: Line[];
  marks: Mark[];
  cursor: Signal<number | null>;
  format: (value: number) => string;
  /** The least top of the vertical axis. */
  top: number;
  /** A bound that is drawn across. */
  bound?: { at: number; label: string };
  hasLabels?: boolean;
  /** Whether the cursor stays where it was put. */
  isPinned?: boolean;
}

const HEIGHT = 148;
const PAD = { left: 46, right: 10, top: 12, bottom: 22 };

export function Chart(props: Props) {
  const { title, hint, times, domain, lines, marks, format, bound } = props;
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const highest = Math.max(props.top, ...lines.flatMap((line) => line.values.map((value) => value ?? 0)));
  const ticks = niceTicks(highest);
  const top = ticks.at(-1) ?? 1;
  const x = (at: number) =>
    PAD.left + ((at - domain[0]) / Math.max(1, domain[1] - domain[0])) * (width - PAD.left - PAD.right);
  const y = (value: number) => HEIGHT - PAD.bottom - (value / top) * (HEIGHT - PAD.top - PAD.bottom);
  const isEmpty = lines.every((line) => line.values.every((value) => value === null));
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title" title={hint}>
          {title}
        </span>
        <Legend {...props} />
      </figcaption>
      <div class="plot" ref={box}>
        <svg width={width} height={HEIGHT} aria-hidden="true">
          {ticks.map((tick) => (
            <g key={tick}>
              <line class="grid" x1={PAD.left} x2={width - PAD.right} y1={y(tick)} y2={y(tick)} />
              <text class="tick" x={PAD.left - 6} y={y(tick) + 3.5} text-anchor="end">
                {format(tick)}
              </text>
            </g>
          ))}
          {timeTicks(domain, width).map((at) => (
            <text class="tick" key={at} x={x(at)} y={HEIGHT - 6} text-anchor="middle">
              {clock(at)}
            </text>
          ))}
          {bound && bound.at <= top ? (
            <g>
              <line class="bound" x1={PAD.left} x2={width - PAD.right} y1={y(bound.at)} y2={y(bound.at)} />
              <text class="bound-label" x={width - PAD.right - 4} y={y(bound.at) - 4} text-anchor="end">
                {bound.label}
              </text>
            </g>
          ) : null}
          <Marks marks={marks} domain={domain} x={x} hasLabels={props.hasLabels ?? false} width={width} />
          {lines.map((line) => (
            <path class={`line line-${line.kind}`} key={line.label} d={path(line, times, domain, x, y)} />
          ))}
          <Cursor {...props} x={x} y={y} />
        </svg>
        {isEmpty ? <p class="plot-empty">nothing in this time</p> : null}
        <Pointer {...props} width={width} />
      </div>
    </figure>
  );
}

function Marks(props: { marks: Mark[]; domain: [number, number]; x: (at: number) => number; hasLabels: boolean; width: number }) {
  const shown = props.marks.filter(({ at }) => at >= props.domain[0] && at <= props.domain[1]);
  let free = -Infinity;
  return (
    <>
      {shown.map((mark) => {
        const at = props.x(mark.at);
        const room = mark.label.length * 5.6 + 10;
        const hasRoom = props.hasLabels && at > free && at + room < props.width;
        if (hasRoom) free = at + room;
        return (
          <g key={`${mark.at}${mark.label}`} class={`mark mark-${mark.kind}`}>
            <line x1={at} x2={at} y1={PAD.top - 6} y2={HEIGHT - PAD.bottom} />
            {hasRoom ? (
              <text x={at + 4} y={PAD.top + 2}>
                {mark.label}
              </text>
            ) : null}
            <title>{`${clock(mark.at)} ${mark.label}`}</title>
          </g>
        );
      })}
    </>
  );
}

/** What the lines say at the cursor, or else now. */
function Legend({ lines, times, cursor, format }: Props) {
  const at = cursor.value;
  const index = at === null ? times.length - 1 : indexAt(times, at);
  return (
    <span class="legend">
      {lines.map((line) => {
        const value = line.values[index];
        return (
          <span key={line.label}>
            <i class={`swatch swatch-${line.kind}`} />
            {line.label} <b>{value === null || value === undefined ? "–" : format(value)}</b>
          </span>
        );
      })}
    </span>
  );
}

function Cursor(props: Props & { x: (at: number) => number; y: (value: number) => number }) {
  const at = props.cursor.value;
  if (at === null || at < props.domain[0] || at > props.domain[1] || props.times.length === 0) return null;
  const index = indexAt(props.times, at);
  const there = props.x(props.isPinned ? at : (props.times[index] ?? at));
  return (
    <g class="cursor">
      <line x1={there} x2={there} y1={PAD.top - 6} y2={HEIGHT - PAD.bottom} />
      {props.lines.map((line) => {
        const value = line.values[index];
        return value === null || value === undefined ? null : (
          <circle key={line.label} class={`dot-${line.kind}`} cx={there} cy={props.y(value)} r="3.2" />
        );
      })}
    </g>
  );
}

/** Takes the pointer and the arrow keys, and says the values aloud. */
function Pointer(props: Props & { width: number }) {
  const { times, domain, cursor, width } = props;
  const place = (event: PointerEvent) => {
    const left = (event.currentTarget as HTMLElement).getBoundingClientRect().left;
    const part = (event.clientX - left - PAD.left) / Math.max(1, width - PAD.left - PAD.right);
    const at = domain[0] + Math.min(1, Math.max(0, part)) * (domain[1] - domain[0]);
    cursor.value = props.isPinned ? at : (times[indexAt(times, at)] ?? at);
  };
  const step = (event: KeyboardEvent) => {
    const index = indexAt(times, cursor.value ?? Infinity);
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: times.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    cursor.value = times[Math.min(times.length - 1, Math.max(0, to))] ?? null;
  };
  const index = indexAt(times, cursor.value ?? Infinity);
  const said = props.lines.map((line) => {
    const value = line.values[index];
    return `${line.label} ${value === null || value === undefined ? "nothing" : props.format(value)}`;
  });
  const at = times[index];
  return (
    <div
      class="plot-pointer"
      role="slider"
      tabIndex={0}
      aria-label={`${props.title} over time`}
      aria-valuemin={0}
      aria-valuemax={Math.max(0, times.length - 1)}
      aria-valuenow={times.length === 0 ? 0 : index}
      aria-valuetext={at === undefined ? "nothing yet" : `${clock(at)}: ${said.join(", ")}`}
      onPointerMove={(event) => {
        if (!props.isPinned || event.buttons === 1) place(event);
      }}
      onPointerDown={place}
      onPointerLeave={() => {
        if (!props.isPinned) cursor.value = null;
      }}
      onBlur={() => {
        if (!props.isPinned) cursor.value = null;
      }}
      onKeyDown={step}
    />
  );
}

function path(line: Line, times: number[], domain: [number, number], x: (at: number) => number, y: (value: number) => number) {
  let text = "";
  let isDown = false;
  let last = 0;
  line.values.forEach((value, index) => {
    const at = times[index] ?? 0;
    if (value === null || at < domain[0]) {
      isDown = false;
      return;
    }
    const [left, height] = [x(at).toFixed(1), y(value).toFixed(1)];
    if (!isDown) text += `M${left} ${height}`;
    else if (line.isStep && value !== last) text += `H${left}V${height}`;
    else text += `L${left} ${height}`;
    isDown = true;
    last = value;
  });
  return text;
}

function useWidth(box: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(480);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(Math.max(220, Math.floor(element.clientWidth))));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** From zero to the first round number at or above the highest value. */
function niceTicks(highest: number): number[] {
  const rough = highest / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999) ?? rough;
  const steps = Math.ceil((highest / step) * 0.999);
  return Array.from({ length: steps + 1 }, (_, index) => Number((index * step).toPrecision(6)));
}

function timeTicks([from, to]: [number, number], width: number): number[] {
  const most = Math.max(2, Math.floor((width - PAD.left) / 110));
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
  const step = (steps.find((step) => (to - from) / 1_000 / step <= most) ?? 86_400) * 1_000;
  const first = Math.ceil(from / step) * step;
  const ticks: number[] = [];
  // Those at the very edges would be cut.
  for (let at = first; at <= to && ticks.length < 40; at += step) {
    if (at - from > (to - from) * 0.03 && to - at > (to - from) * 0.04) ticks.push(at);
  }
  return ticks;
}
