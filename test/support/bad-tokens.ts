// Tokens that must not count, one way of being wrong each: for the hub and for the agent alike.

import { CompactEncrypt, SignJWT } from 'jose'
import { signingKey, type Issuer } from './issuer.ts'

type Make = (issuer: Issuer, audience: string) => Promise<string>

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

const unsigned: Make = async (issuer) => {
  const [, payload] = (await issuer.token()).split('.')
  return `${base64url({ alg: 'none', typ: 'JWT', kid: 'one' })}.${payload}.`
}

/** The public key taken for a secret: what a verifier falls for that lets the token choose its algorithm. */
const hmacOfPublicKey: Make = async (issuer) => {
  const payload = JSON.parse(Buffer.from((await issuer.token()).split('.')[1]!, 'base64url').toString())
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: 'one' })
    .sign(new TextEncoder().encode(JSON.stringify(issuer.key.publicJwk)))
}

const encrypted: Make = async (issuer) =>
  new CompactEncrypt(new TextEncoder().encode(await issuer.token()))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
    .encrypt(new Uint8Array(32))

const altered: Make = async (issuer) => {
  const [header, payload, signature] = (await issuer.token({ ref: 'refs/heads/evil' })).split('.')
  const said = JSON.parse(Buffer.from(payload!, 'base64url').toString())
  return `${header}.${base64url({ ...said, ref: 'refs/heads/main' })}.${signature}`
}

const claims =
  (over: Record<string, unknown>): Make =>
  (issuer) =>
    issuer.token(over)
const header =
  (over: Record<string, unknown>): Make =>
  (issuer) =>
    issuer.token({}, { header: over })

/** Row by row: not the issuer's, or not for this trigger. */
export const FORGED: Readonly<Record<string, Make>> = {
  'no token': async () => 'x',
  'alg none': unsigned,
  'HS256 with the public key': hmacOfPublicKey,
  'another algorithm, by a published key': async (issuer) => {
    const key = await signingKey('two', 'ES256')
    issuer.published = [...issuer.published, key.publicJwk]
    return issuer.token({}, { key, header: { alg: 'ES256' } })
  },
  'an encrypted one': encrypted,
  'an altered one': altered,
  'a stranger’s key under a known name': async (issuer) => issuer.token({}, { key: await signingKey('one') }),
  'an unknown key': async (issuer) => issuer.token({}, { key: await signingKey('stranger') }),
  'no kid': header({ kid: undefined }),
  'an embedded key': async (issuer) => {
    const key = await signingKey('own')
    return issuer.token({}, { key, header: { jwk: key.publicJwk } })
  },
  jku: header({ jku: 'http://127.0.0.1:9/keys' }),
  x5u: header({ x5u: 'http://127.0.0.1:9/cert' }),
  'another typ': header({ typ: 'at+jwt' }),
  'no exp': claims({ exp: undefined }),
  'no iat': claims({ iat: undefined }),
  'no nbf': claims({ nbf: undefined }),
  'no jti': claims({ jti: undefined }),
  'exp far in the future': claims({ exp: inSeconds(10 * 366 * 24 * 3600) }),
  'another audience': claims({ aud: 'https://other.example' }),
  'no audience': claims({ aud: undefined }),
  'an audience that begins like ours': (issuer, audience) => issuer.token({ aud: `${audience}/` }),
  'several audiences, ours among them': (issuer, audience) =>
    issuer.token({ aud: [audience, 'https://other.example'] }),
  'our audience alone, as a list': (issuer, audience) => issuer.token({ aud: [audience] }),
  'bound to another body': (issuer, audience) =>
    issuer.token({ aud: `${audience}#sha256=${'0'.repeat(64)}` }),
  'an issuer with a path more': (issuer) => issuer.token({ iss: `${issuer.url}/slug` }),
  'an issuer with a slash more': (issuer) => issuer.token({ iss: `${issuer.url}/` }),
  'an issuer by another scheme': (issuer) => issuer.token({ iss: issuer.url.replace('http:', 'https:') }),
}

/** Genuine, for this trigger, and of somebody who must not deploy. */
export const CONFUSED: Readonly<Record<string, Make>> = {
  'another repository of the owner': claims({ repository_id: '1296270' }),
  'a repository of the same name, made anew by others': claims({
    repository_id: '99',
    repository_owner_id: '7',
  }),
  'a repository that was handed to another owner': claims({ repository_owner_id: '7' }),
  'a fork': claims({ repository: 'mallory/hello', repository_id: '5', repository_owner_id: '7' }),
  'another branch': claims({ ref: 'refs/heads/mainly-mine' }),
  'a tag named like the branch': claims({ ref: 'refs/tags/main' }),
  'pull_request_target, whose ref is the base’s': claims({ event_name: 'pull_request_target' }),
  'a pull request': claims({ event_name: 'pull_request', ref: 'refs/pull/7/merge' }),
  'a runner of their own': claims({ runner_environment: 'self-hosted' }),
  'an id that is a number': claims({ repository_id: 1296269 }),
  'an id in a list': claims({ repository_id: ['1296269'] }),
  'an id that begins like ours': claims({ repository_id: '12962690' }),
  'a claim that is not there': claims({ ref: undefined }),
}

/** Genuine, and its time is not now. */
export const UNTIMELY: Readonly<Record<string, Make>> = {
  'one that has expired': claims({ iat: inSeconds(-600), exp: inSeconds(-60) }),
  'one that is older than its sender’s ever are': claims({ iat: inSeconds(-3600), exp: inSeconds(600) }),
  'one of the future': claims({ iat: inSeconds(600), nbf: inSeconds(600), exp: inSeconds(900) }),
  'one that is not good yet': claims({ nbf: inSeconds(120) }),
}
