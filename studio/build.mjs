// Builds dist/ from src/: index.html, studio.js and studio.css, which the Rust binary embeds.
//
//   node build.mjs           writes dist/
//   node build.mjs --check   fails if dist/ differs from a fresh build
//
// The output depends only on src/ and the locked packages: no hashes, times or paths.
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { build } from "esbuild";

const root = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(root, "dist");

const files = await bundle();
if (process.argv.includes("--check")) {
  await check(files);
} else {
  await write(files);
}

/** Returns the files of dist/ as a map from name to bytes. */
async function bundle() {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [{ in: "src/main.jsx", out: "studio" }],
    outdir: "dist",
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    charset: "utf8",
    legalComments: "none", // the notices below hold the full licence texts instead
    metafile: true,
    write: false,
    logLevel: "warning",
  });
  const files = new Map(result.outputFiles.map((file) => [path.basename(file.path), file.contents]));
  const notices = await licenceNotices(result.metafile);
  files.set("studio.js", Buffer.concat([files.get("studio.js"), Buffer.from(notices)]));
  files.set("index.html", await readFile(path.join(root, "src/index.html")));
  return files;
}

/** The licences of the bundled packages ask for their text in every copy. */
async function licenceNotices(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const match = input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (match) packages.add(match[1]);
  }
  let notices = "";
  for (const name of [...packages].sort()) {
    const folder = path.join(root, "node_modules", name);
    const licence = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
    if (!licence) throw new Error(`${name} has no licence file: its notice cannot be kept`);
    const text = await readFile(path.join(folder, licence), "utf8");
    notices += `/*!\n${name}\n\n${text.replaceAll("*/", "* /").replaceAll("\r\n", "\n").trim()}\n*/\n`;
  }
  return notices;
}

async function write(files) {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist);
  for (const [name, bytes] of files) {
    await writeFile(path.join(dist, name), bytes);
    console.log(`dist/${name}  ${(bytes.length / 1000).toFixed(1)} kB`);
  }
}

async function check(files) {
  const faults = [];
  for (const [name, bytes] of files) {
    const committed = await readFile(path.join(dist, name)).catch(() => null);
    if (!committed) faults.push(`dist/${name} is missing`);
    else if (!committed.equals(bytes)) faults.push(`dist/${name} differs from a fresh build`);
  }
  const present = await readdir(dist).catch(() => []);
  for (const name of present) {
    if (!files.has(name)) faults.push(`dist/${name} does not belong to the build`);
  }
  if (faults.length > 0) {
    console.error(`${faults.join("\n")}\nRun \`npm ci && npm run build\` in studio/ and commit dist/.`);
    process.exit(1);
  }
  console.log("dist/ is up to date");
}
