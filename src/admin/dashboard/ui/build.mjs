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
  legalComments: "inline",
  write: false,
});
const files = new Map(built.outputFiles.map((file) => [file.path.split("/").at(-1), Buffer.from(file.contents)]));
files.set("icon.svg", await readFile(join(import.meta.dirname, "src", "icon.svg")));
for (const [name, contents] of files) {
  await writeFile(join(out, name), contents);
  await writeFile(join(out, `${name}.gz`), gzipSync(contents, { level: 9 }));
}
await writeFile(join(out, "index.html"), await readFile(join(import.meta.dirname, "src", "index.html")));
