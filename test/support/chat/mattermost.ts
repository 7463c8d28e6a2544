// A stand-in for a Mattermost server: sends commands and clicks as it does, and answers our calls.

import { ask, type Answer } from '../relay.ts'

export const SERVER = 'https://chat.acme.example'
export const SECRET = 'xr3j5x3p4pfk7kk6ck7b4e6ghh'
export const TOKEN = 'k3y9d8f5ytn1pxj7z4q6w2e8ra'
export const TEAM = 'rdc9bgriktyx9p4kowh3dmgqyc'
export const CHANNEL = 'cniah6qa73bjjjan6mzn11f4ie'
export const ANNA = 'c3a4cqe3dfy6dgopqt8ai3hydh'
export const MALLORY = 'zzz4cqe3dfy6dgopqt8ai3hydh'

type Json = ReturnType<typeof JSON.parse>

export interface Post {
  readonly id: string
  readonly texts: string[]
  /** What the server keeps to itself, and posts when a button is clicked. */
  actions: { id: string; name: string; integration: { url: string; context: Json } }[]
}

export class MattermostStandIn {
  readonly posts: Post[] = []
  readonly responses = new Map<string, Json[]>()
  readonly faults: string[] = []
  readonly closed = new Set<string>()
  #count = 0

  responseUrl(): string {
    const url = `${SERVER}/hooks/commands/${String(++this.#count).padStart(26, 'a')}`
    this.responses.set(url, [])
    return url
  }

  /** Somebody clicks: the server posts what it was given. */
  click(post: Post, user = ANNA, change: (body: Json) => Json = (body) => body): Promise<Answer> {
    const { url, context } = post.actions[0]!.integration
    const body = {
      user_id: user,
      user_name: 'anna',
      team_id: TEAM,
      channel_id: CHANNEL,
      post_id: post.id,
      context,
    }
    return ask(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(change(structuredClone(body))),
    })
  }

  readonly outbound = async (request: Request): Promise<Response> => {
    const { origin, pathname } = new URL(request.url)
    const body: Json = await request.json()
    const text = body.message ?? body.text
    if (origin !== SERVER) return this.#fault(`a call to ${origin}`)
    if (typeof text !== 'string' || text.length > 16_383) return this.#fault('a bad text')
    if (!/^```text\n[^]*\n```$/.test(text) || text.slice(8, -4).includes('```'))
      return this.#fault('an open code block')
    const uses = this.responses.get(request.url)
    if (uses) {
      if (uses.length >= 5) return new Response('', { status: 404 })
      uses.push(body)
      return new Response('ok')
    }
    if (request.headers.get('authorization') !== `Bearer ${TOKEN}`) return Response.json({}, { status: 401 })
    const actions = (body.props?.attachments ?? []).flatMap((each: Json) => each.actions)
    if (actions.some(({ id }: Json) => !/^[a-zA-Z0-9]+$/.test(id))) return this.#fault('the id of a button')
    if (request.method === 'POST' && pathname === '/api/v4/posts') {
      if (this.closed.has(body.channel_id))
        return Response.json({ id: 'api.context.permissions.app_error' }, { status: 403 })
      const post = { id: String(++this.#count).padStart(26, 'p'), texts: [text], actions }
      this.posts.push(post)
      return Response.json({ id: post.id }, { status: 201 })
    }
    const post = this.posts.find(({ id }) => pathname === `/api/v4/posts/${id}/patch`)
    if (request.method !== 'PUT' || !post) return this.#fault(`${request.method} ${pathname}`)
    post.texts.push(text)
    post.actions = actions
    return Response.json({ id: post.id })
  }

  #fault(fault: string): Response {
    this.faults.push(fault)
    return Response.json({ id: 'api.context.invalid_body_param.app_error' }, { status: 400 })
  }
}

let triggers = 0

export function command(text: string, over: Record<string, string> = {}): Record<string, string> {
  return {
    channel_id: CHANNEL,
    channel_name: 'deploys',
    command: '/ropeway',
    team_id: TEAM,
    team_domain: 'acme',
    text,
    token: SECRET,
    trigger_id: `Ym9sdA${++triggers}`,
    user_id: ANNA,
    user_name: 'anna',
    ...over,
  }
}

export function send(
  url: string,
  form: Record<string, string>,
  authorization: string | undefined = `Token ${SECRET}`,
): Promise<Answer> {
  return ask(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(authorization === '' ? {} : { authorization }),
    },
    body: String(new URLSearchParams(form)),
  })
}
