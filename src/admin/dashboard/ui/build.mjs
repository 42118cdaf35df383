// Puts the dashboard together into ../dist, or into the folder that is named. The same sources give the same bytes on every machine.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = process.argv[2] ?? join(import.meta.dirname, "..", "dist");
await mkdir(out, { recursive: true });

const built = await build({
  absWorkingDir: import.meta.dirname,
  entryPoints: { app: "src/main.tsx" },
  outdir: "/",
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  metafile: true,
  write: false,
});
const files = new Map(built.outputFiles.map((file) => [file.path.split("/").at(-1), Buffer.from(file.contents)]));

// What others wrote goes out with their licences, each once.
const packages = new Set();
for (const path of Object.keys(built.metafile.inputs)) {
  const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
  if (name) packages.add(name);
}
const notices = [...packages].sort().map(async (name) => {
  const text = await readFile(join(import.meta.dirname, "node_modules", name, "LICENSE"), "utf8");
  return `${name}\n\n${text.trim()}`;
});
const notice = `/*!\n${(await Promise.all(notices)).join("\n\n\n")}\n*/\n`;
files.set("app.js", Buffer.concat([Buffer.from(notice), files.get("app.js")]));
files.set("icon.svg", await readFile(join(import.meta.dirname, "src", "icon.svg")));
for (const [name, contents] of files) {
  await writeFile(join(out, name), contents);
  await writeFile(join(out, `${name}.gz`), gzipSync(contents, { level: 9 }));
}
await writeFile(join(out, "index.html"), await readFile(join(import.meta.dirname, "src", "index.html")));
