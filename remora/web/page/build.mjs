// Builds ../static from this folder. `npm ci && npm run build`; tests/web/test_built_page.py compares the two by their hashes.
// - Names of the files under assets/ carry a hash of their content, so that browsers may keep them for ever.
// - built.json holds the hash of every source and of every built file: the check needs no Node.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { build } from "esbuild";

const OUT = "../static";
const SOURCES = ["build.mjs", "favicon.svg", "index.html", "package-lock.json", "package.json", "tsconfig.json", "src"];
const LICENCES = {
  "@fontsource-variable/inter": "LICENSE",
  "@preact/signals": "LICENSE",
  preact: "LICENSE",
  three: "LICENSE",
};

async function filesUnder(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replaceAll("\\", "/"));
}

async function hashes(names, folder = "") {
  const found = {};
  for (const name of names.sort())
    found[name] = createHash("sha256")
      .update(await readFile(join(folder, name)))
      .digest("hex");
  return found;
}

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT);
const done = await build({
  entryPoints: ["src/main.tsx"],
  outdir: OUT,
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  loader: { ".woff2": "file" },
  jsx: "automatic",
  jsxImportSource: "preact",
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none",
  metafile: true,
});

let page = await readFile("index.html", "utf8");
for (const [name, { entryPoint }] of Object.entries(done.metafile.outputs)) {
  const suffix = name.split(".").pop();
  if (entryPoint || suffix === "css") page = page.replace(`{{main.${suffix}}}`, `assets/${basename(name)}`);
}
await writeFile(join(OUT, "index.html"), page);
await writeFile(join(OUT, "favicon.svg"), await readFile("favicon.svg"));

const notices = [];
for (const [name, file] of Object.entries(LICENCES))
  notices.push(`${name}\n\n${await readFile(join("node_modules", name, file), "utf8")}`);
await writeFile(join(OUT, "licences.txt"), notices.join(`\n${"-".repeat(80)}\n\n`));

const sources = (await Promise.all(SOURCES.map(async (name) => (name === "src" ? filesUnder("src") : [name])))).flat();
const built = (await filesUnder(OUT)).map((name) => name.slice(OUT.length + 1));
await writeFile(
  join(OUT, "built.json"),
  `${JSON.stringify({ sources: await hashes(sources), files: await hashes(built, OUT) }, null, 1)}\n`,
);
