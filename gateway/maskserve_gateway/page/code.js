/** The same request as code: for a shell, for Python, and for JavaScript. */

/**
 * @typedef {object} Request
 * @property {string} url of the service
 * @property {string} file name of the photo
 * @property {number} threshold
 * @property {boolean} key whether the service wants an API key
 */

/** @type {Record<string, (request: Request) => string>} by the values of the page's choices */
export const LANGUAGES = { curl, python, javascript };

/** @param {string} text */
function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Request} request */
function curl({ url, file, threshold, key }) {
  const path = file.startsWith("-") ? `./${file}` : file;
  const header = key ? `  -H "Authorization: Bearer $MASKSERVE_API_KEY" \\\n` : "";
  return `{
  printf '{"image": "'
  base64 < ${shellQuoted(path)} | tr -d '\\n'
  printf '", "threshold": ${threshold}, "visualize": false}'
} | curl -sS ${shellQuoted(url)} \\
  -H 'Content-Type: application/json' \\
${header}  --data-binary @-
`;
}

/** @param {Request} request */
function python({ url, file, threshold, key }) {
  const text = JSON.stringify; // a string of JSON is one of Python
  const header = key ? `, "Authorization": "Bearer " + os.environ["MASKSERVE_API_KEY"]` : "";
  return `import base64
import json
${key ? "import os\n" : ""}import urllib.request

with open(${text(file)}, "rb") as photo:
    image = base64.b64encode(photo.read()).decode()
request = urllib.request.Request(
    ${text(url)},
    json.dumps({"image": image, "threshold": ${threshold}, "visualize": False}).encode(),
    {"Content-Type": "application/json"${header}},
)
with urllib.request.urlopen(request) as answer:
    result = json.load(answer)["result"]
for instance in result["instances"]:
    print(instance["categoryName"], round(instance["score"], 3), instance["bbox"])
`;
}

/** @param {Request} request */
function javascript({ url, file, threshold, key }) {
  const text = JSON.stringify;
  const header = key ? `, Authorization: \`Bearer \${process.env.MASKSERVE_API_KEY}\`` : "";
  return `// node request.mjs
import { readFile } from "node:fs/promises";

const image = await readFile(${text(file)}, "base64");
const answer = await fetch(${text(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/json"${header} },
  body: JSON.stringify({ image, threshold: ${threshold}, visualize: false }),
});
const { errorMsg, result } = await answer.json();
if (!answer.ok) throw new Error(errorMsg);
for (const { categoryName, score, bbox } of result.instances) console.log(categoryName, score.toFixed(3), bbox);
`;
}
