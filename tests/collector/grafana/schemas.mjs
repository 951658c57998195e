// Writes JSON schemas of Grafana's own types, one object by name, to standard output.
// One program of one file that names them all: TypeScript reads its own library once, not once a type.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createGenerator } from "ts-json-schema-generator";

const here = dirname(fileURLToPath(import.meta.url));
const raw = join(here, "node_modules/@grafana/schema/dist/types/raw");

function typed(folder, type) {
  const file = readdirSync(join(raw, folder)).find((name) => name.endsWith(".d.ts"));
  return `import(${JSON.stringify(join(raw, folder, file.replace(/\.d\.ts$/, "")))}).${type}`;
}

const types = {
  dashboard: typed("dashboard/x", "Dashboard"),
  alertlist: `import(${JSON.stringify(join(here, "alertlist"))}).Options`,
};
for (const panel of process.argv.slice(2)) {
  types[panel] = typed(`composable/${panel.replaceAll("-", "")}/panelcfg/x`, "Options");
}
const name = (key) => `T_${key.replaceAll("-", "")}`;
const folder = mkdtempSync(join(tmpdir(), "balise-schemas-"));
try {
  const path = join(folder, "all.ts");
  writeFileSync(path, Object.entries(types).map(([key, type]) => `export type ${name(key)} = ${type};\n`).join(""));
  const generator = createGenerator({ path, skipTypeCheck: true, encodeRefs: false });
  const found = Object.keys(types).map((key) => [key, generator.createSchema(name(key))]);
  process.stdout.write(JSON.stringify(Object.fromEntries(found)));
} finally {
  rmSync(folder, { recursive: true });
}
