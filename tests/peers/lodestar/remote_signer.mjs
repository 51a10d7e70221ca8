// A remote signer (Web3Signer's POST /api/v1/eth2/sign/{key}) for a few keys of the dev chain, to stand behind a
// validator client. It signs whatever it is asked to.
//
// Usage: node remote_signer.mjs NODE_MODULES INDEX…   prints one line of JSON: {port, keys}.
// GET /signed returns how many signatures it gave.
import {createServer} from "node:http";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [modules, ...indexes] = process.argv.slice(2);
const library = join(modules, "@lodestar", "state-transition", "lib", "index.js");
const {interopSecretKey} = await import(pathToFileURL(library));

const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");
const secrets = new Map();
for (const index of indexes) {
  const secret = interopSecretKey(Number(index));
  secrets.set(hex(secret.toPublicKey().toBytes()), secret);
}
let signed = 0;

const server = createServer(async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, {"Content-Type": "application/json"});
    response.end(JSON.stringify(body));
  };
  if (request.url === "/signed") return answer(200, {signed});
  if (request.url === "/upcheck") return answer(200, "OK");
  if (request.url === "/api/v1/eth2/publicKeys") return answer(200, [...secrets.keys()]);
  const secret = secrets.get(request.url.split("/").at(-1));
  if (request.method !== "POST" || secret === undefined) return answer(404, {});
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const root = JSON.parse(Buffer.concat(chunks)).signingRoot;
  signed += 1;
  return answer(200, {signature: hex(secret.sign(Buffer.from(root.slice(2), "hex")).toBytes())});
});
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({port: server.address().port, keys: [...secrets.keys()]}));
});
