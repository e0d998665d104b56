// Signs a person in as a browser would, by the authorization code flow with PKCE, and prints the access token:
//   sign_in.mjs ISSUER CLIENT USER
// It knows nothing of the provider but its address: the rest is in the provider's own documents and pages.

import { createHash, randomBytes } from "node:crypto";

const [issuer, client_id, user] = process.argv.slice(2);
const redirect_uri = "http://127.0.0.1/signed-in";
const discovered = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();

const cookies = new Map();

/** One request of the browser, with its cookies. */
async function visit(url, form) {
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
  const sent = form ? { method: "POST", body: new URLSearchParams(form) } : {};
  const answer = await fetch(url, { ...sent, headers, redirect: "manual" });
  for (const cookie of answer.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
    if (value) cookies.set(name, value);
    else cookies.delete(name);
  }
  return answer;
}

const verifier = randomBytes(32).toString("base64url");
const asked = new URLSearchParams({
  client_id,
  redirect_uri,
  response_type: "code",
  scope: "openid call",
  code_challenge: createHash("sha256").update(verifier).digest("base64url"),
  code_challenge_method: "S256",
});

let url = `${discovered.authorization_endpoint}?${asked}`;
let answer = await visit(url);
// Sign in, consent, and as many redirects between as the provider likes, within reason.
for (let step = 0; step < 20 && !url.startsWith(redirect_uri); step += 1) {
  const to = answer.headers.get("location");
  if (to) {
    url = new URL(to, url).href;
    if (!url.startsWith(redirect_uri)) answer = await visit(url);
    continue;
  }
  const page = await answer.text();
  const action = /<form[^>]* action="([^"]+)"/.exec(page)?.[1];
  const prompt = /name="prompt" value="([^"]+)"/.exec(page)?.[1];
  if (!action) throw new Error(`${url} answered ${answer.status}: ${page}`);
  url = new URL(action, url).href;
  answer = await visit(url, prompt === "login" ? { prompt, login: user, password: "any" } : { prompt });
}

const code = new URL(url).searchParams.get("code");
const exchanged = await fetch(discovered.token_endpoint, {
  method: "POST",
  body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri, client_id, code_verifier: verifier }),
});
const { access_token, ...rest } = await exchanged.json();
if (!access_token) throw new Error(`${url} gave no token: ${JSON.stringify(rest)}`);
console.log(access_token);
