// A container as the agent needs it, of what the engine says of one.

import type Docker from 'dockerode'
import type { Container, Healthcheck } from '../ports.ts'

export function readContainer(inspected: Docker.ContainerInspectInfo): Container {
  const { Config, State, NetworkSettings, Mounts } = inspected
  const labels = Config.Labels ?? {}
  const networks = Object.entries(NetworkSettings.Networks ?? {})
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    service: labels['com.docker.compose.service'] ?? '',
    imageId: inspected.Image,
    image: Config.Image,
    env: Object.fromEntries((Config.Env ?? []).map(splitEnv)),
    state: State.Status as Container['state'],
    exitCode: State.ExitCode,
    restarts: inspected.RestartCount,
    startedAt: State.StartedAt,
    health: healthOf(State.Health?.Status),
    healthcheck: healthcheckOf(Config.Healthcheck),
    pid: State.Pid,
    addresses: Object.fromEntries(
      networks
        .map(([name, { IPAddress, GlobalIPv6Address }]) => [
          name,
          [IPAddress, GlobalIPv6Address].filter(Boolean),
        ])
        .filter(([, ips]) => ips?.length),
    ),
    aliases: networks.flatMap(([, { Aliases }]) => Aliases ?? []),
    mounts: (Mounts ?? []).map(({ Source, Destination }) => ({ source: Source, target: Destination })),
    configHash: labels['com.docker.compose.config-hash'],
    composeFiles: (labels['com.docker.compose.project.config_files'] ?? '').split(',').filter(Boolean),
  }
}

function splitEnv(entry: string): [string, string] {
  const at = entry.indexOf('=')
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
}

function healthOf(status: string | undefined): Container['health'] {
  return status === 'starting' || status === 'healthy' || status === 'unhealthy' ? status : undefined
}

const NS_PER_MS = 1_000_000

function healthcheckOf(written: Docker.HealthConfig | undefined): Healthcheck | undefined {
  if (!written?.Test?.length) return undefined
  const ms = (ns: number | undefined) => (ns ?? 0) / NS_PER_MS
  return {
    test: written.Test,
    intervalMs: ms(written.Interval),
    timeoutMs: ms(written.Timeout),
    retries: written.Retries ?? 0,
    startPeriodMs: ms(written.StartPeriod),
    startIntervalMs: ms(written.StartInterval),
  }
}
