// Scores texts with transformers.js: node open_bundle.mjs PACKAGE BUNDLE DTYPE < texts.json > scores.json
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import path from "node:path";

const [packageFolder, bundle, dtype] = process.argv.slice(2);
const { main, exports: entries } = JSON.parse(readFileSync(path.join(packageFolder, "package.json")));
const entry = entries?.node?.import?.default ?? entries?.node?.import ?? main;
const { env, pipeline } = await import(pathToFileURL(path.join(packageFolder, entry)));

env.allowRemoteModels = false;
env.localModelPath = path.dirname(bundle);
const classify = await pipeline("text-classification", path.basename(bundle), { dtype, local_files_only: true });
const scores = [];
for (const text of JSON.parse(readFileSync(0))) {
  const labels = await classify(text, { top_k: null });
  scores.push(Object.fromEntries(labels.map(({ label, score }) => [label, score])));
}
process.stdout.write(JSON.stringify(scores));
