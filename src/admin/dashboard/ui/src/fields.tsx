// What forms are made of.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export type KeyProblem = { key: string; message: string };

/** One of a few words. */
export function Choice(props: { label: string; value: string; of: string[]; set: (word: string) => void }) {
  return (
    <Field label={props.label} problems={[]}>
      {(id) => (
        <select id={id} value={props.value} onChange={(event) => props.set(event.currentTarget.value)}>
          {props.of.map((word) => (
            <option key={word} value={word}>
              {word.replaceAll("_", " ")}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Gone({ what, press }: { what: string; press: () => void }) {
  return (
    <button type="button" class="button button-quiet gone" aria-label={`Remove ${what}`} onClick={press}>
      ×
    </button>
  );
}

export function Text(props: { label: string; hint?: string; value: string; set: (text: string) => void; problems: KeyProblem[] }) {
  return (
    <Field label={props.label} hint={props.hint ?? ""} problems={props.problems}>
      {(id) => (
        <input id={id} value={props.value} spellcheck={false} onInput={(event) => props.set(event.currentTarget.value)} aria-invalid={props.problems.length > 0} />
      )}
    </Field>
  );
}

export function Field(props: { label: string; hint?: string; problems: KeyProblem[]; children: (id: string) => ComponentChildren }) {
  const id = useId();
  return (
    <div class={props.problems.length > 0 ? "field field-bad" : "field"}>
      <label for={id}>{props.label}</label>
      {props.children(id)}
      {props.hint ? <small>{props.hint}</small> : null}
    </div>
  );
}

export function Problems({ problems }: { problems: KeyProblem[] }) {
  return (
    <>
      {problems.map((problem, index) => (
        <p class="problem" key={index}>
          <b>{problem.key}</b> {problem.message}
        </p>
      ))}
    </>
  );
}
