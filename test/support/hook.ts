// A sender of webhooks, honest unless the test tampers with what it signed.

import { randomUUID } from 'node:crypto'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'

export interface HookOptions {
  readonly id?: string
  readonly timestampSeconds?: number
  /** Changes the request after it was signed. */
  readonly tamper?: (request: { url: string; headers: Record<string, string>; body: string }) => void
}

export interface HookAnswer {
  readonly status: number
  readonly headers: Headers
  /** Whatever JSON it was: tests say what they expect of it. */
  readonly body: ReturnType<typeof JSON.parse>
}

/** Signs a body and posts it, once. */
export async function sendHook(
  url: string,
  secret: string,
  body: object | string,
  options: HookOptions = {},
): Promise<HookAnswer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const signed = await signStandardWebhook(secret, {
    id: options.id ?? `msg_${randomUUID()}`,
    timestampSeconds: options.timestampSeconds ?? Math.floor(Date.now() / 1000),
    body: new TextEncoder().encode(text),
  })
  const request = {
    url,
    headers: { 'content-type': 'application/json', ...signed } as Record<string, string>,
    body: text,
  }
  options.tamper?.(request)
  const response = await fetch(request.url, {
    method: 'POST',
    headers: request.headers,
    body: request.body,
  })
  const answer = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: answer === '' ? undefined : JSON.parse(answer),
  }
}
