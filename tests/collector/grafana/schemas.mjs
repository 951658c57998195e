// Writes JSON schemas of Grafana's own types, one object by name, to standard output.
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createGenerator } from "ts-json-schema-generator";

const raw = join(dirname(fileURLToPath(import.meta.url)), "node_modules/@grafana/schema/dist/types/raw");

function schema(folder, type) {
  const file = join(raw, folder, readdirSync(join(raw, folder)).find((name) => name.endsWith(".d.ts")));
  return createGenerator({ path: file, type, skipTypeCheck: true, encodeRefs: false }).createSchema(type);
}

const found = { dashboard: schema("dashboard/x", "Dashboard") };
for (const panel of process.argv.slice(2)) {
  const folder = `composable/${panel.replaceAll("-", "")}/panelcfg/x`;
  found[panel] = schema(folder, "Options");
}
process.stdout.write(JSON.stringify(found));
