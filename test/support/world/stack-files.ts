// The user's files of a fake stack, with the comments, quotes and parameters that an edit must leave alone.

export interface StackShape {
  /** How many instances the upstream has: app1, app2, … */
  readonly instances: number
  /** Whether the file with the upstream is mounted by itself, or the folder that it is in. */
  readonly mount: 'file' | 'directory'
  /** Services whose servers the user has marked `down`. */
  readonly down: readonly string[]
  readonly keepaliveMinTimeoutMs: number
  readonly image: string
  readonly hasHealthcheck: boolean
  /** Another healthcheck than the usual, as the compose file has it. */
  readonly healthcheck?: string
  /** Other `server` blocks than the usual one. */
  readonly sites?: string
  /** More services, as lines of the compose file. */
  readonly services?: string
  /** A second nginx: another container of its service, or a service `edge` of its own that mounts the same file. */
  readonly secondNginx?: 'container' | 'service'
}

export const COMPOSE_PATH = '/srv/hello/docker-compose.yml'
export const MAIN_PATH = '/etc/nginx/nginx.conf'

export function services({ instances }: Pick<StackShape, 'instances'>): string[] {
  return Array.from({ length: instances }, (_, index) => `app${index + 1}`)
}

export function proxyPath({ mount }: Pick<StackShape, 'mount'>): string {
  return mount === 'file' ? '/srv/hello/proxy/nginx.conf' : '/srv/hello/proxy/conf.d/apps.conf'
}

/** The host's files by path. */
export function stackFiles(shape: StackShape): Record<string, string> {
  return {
    [COMPOSE_PATH]: composeText(shape),
    [proxyPath(shape)]: shape.mount === 'file' ? mainText(shape, httpText(shape)) : httpText(shape),
  }
}

/** The files that nginx's image brings, unless the user mounts over them. */
export function imageFiles(shape: StackShape): Record<string, string> {
  return shape.mount === 'file'
    ? {}
    : { [MAIN_PATH]: mainText(shape, '  include /etc/nginx/conf.d/*.conf;\n') }
}

function mainText({ keepaliveMinTimeoutMs }: StackShape, http: string): string {
  const keepalive = keepaliveMinTimeoutMs > 0 ? `  keepalive_min_timeout ${keepaliveMinTimeoutMs}ms;\n` : ''
  return `user  nginx;\nevents { worker_connections 1024; }\nhttp {\n${keepalive}${http}}\n`
}

function httpText(shape: StackShape): string {
  const lines = services(shape).map((service, index) => {
    const parameters = index === 0 ? ' weight=2 max_fails=3' : ''
    const down = shape.down.includes(service) ? ' down' : ''
    return `    server ${service}:3000${parameters}${down}; # the user's comment on ${service}`
  })
  return `  # load balancing
  upstream apps {
${lines.join('\n')}
  }
${shape.sites ?? SITE}`
}

const SITE = `  server {
    listen 80;
    server_name hello.example;
    location / { proxy_pass http://apps; }
  }
`

/** The first look comes when an app listens, and what fails while it starts does not count. */
const HEALTHCHECK = '{ test: [CMD, check], interval: 150ms, start_period: 1s, retries: 1 }'

function composeText(shape: StackShape): string {
  const volume =
    shape.mount === 'file' ? './proxy/nginx.conf:/etc/nginx/nginx.conf' : './proxy/conf.d:/etc/nginx/conf.d'
  const text = shape.healthcheck ?? (shape.hasHealthcheck ? HEALTHCHECK : undefined)
  const healthcheck = text === undefined ? '' : `\n    healthcheck: ${text}`
  const edge =
    shape.secondNginx === 'service' ? `  edge:\n    image: nginx:1.30\n    volumes: [${volume}]\n` : ''
  const apps = services(shape).map(
    (service) => `  ${service}:   # one of them
    image: ${shape.image}${healthcheck}
    environment:
      - 'MESSAGE=${service},v1'
      - PRICE=5$$
    expose:
      - "3000"
`,
  )
  return `# the user's file
services:
  nginx:
    image: nginx:1.30
    volumes:
      - ${volume}
${apps.join('')}  cache:
    image: redis:8
${edge}${shape.services ?? ''}`
}
