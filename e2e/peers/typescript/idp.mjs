// An OpenID provider for the stories, made of oidc-provider (the file that OIDC_PROVIDER names), with a key of its own: people sign in by
// any password and get access tokens that are JWTs. It writes its issuer into the file of READY_FILE once it listens, and ends with
// whoever started it. It keeps nothing.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const { Provider } = await import(process.env.OIDC_PROVIDER);
const ready = process.env.READY_FILE;

/** Whose employee everybody is, in whatever form; everybody else is of `acme`. */
const TENANTS = {
  mallory: "globex",
  list: ["acme"],
  object: { acme: "acme" },
  number: 7,
  truth: true,
  nothing: null,
  empty: "",
  lines: "ac\nme",
  long: "a".repeat(2049),
};

const client = (client_id) => ({
  client_id,
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code"],
  response_types: ["code"],
  redirect_uris: ["http://127.0.0.1/signed-in"],
  application_type: "native",
  id_token_signed_response_alg: "ES256",
});

const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });

const configuration = {
  clients: [client("laptop"), client("phone")],
  jwks: { keys: [{ ...key, kid: randomUUID(), use: "sig", alg: "ES256" }] },
  cookies: { keys: [randomUUID()] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (_, token) => ({ tenant: token.accountId in TENANTS ? TENANTS[token.accountId] : "acme" }),
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:notes",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "call",
        audience: "notes",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on("request", new Provider(issuer, configuration).callback());
  writeFileSync(`${ready}.tmp`, issuer);
  renameSync(`${ready}.tmp`, ready);
});

// Whoever started it holds its standard input open; when that closes, there is nobody left to serve.
process.stdin.on("end", () => process.exit()).resume();
