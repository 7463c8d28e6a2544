// A container as the agent needs it, of what the engine says of one.

import type Docker from 'dockerode'
import type { Container, Healthcheck } from '../../ports.ts'

export const CONFIG_FILES = 'com.docker.compose.project.config_files'
const ENV_FILES = 'com.docker.compose.project.environment_file'

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
    composeFiles: listIn(labels[CONFIG_FILES]),
    envFiles: envFilesIn(labels),
  }
}

/** By a container's labels. */
export function envFilesIn(labels: Readonly<Record<string, string>>): string[] {
  return listIn(labels[ENV_FILES])
}

function listIn(label = ''): string[] {
  return label.split(',').filter(Boolean)
}

function splitEnv(entry: string): [string, string] {
  const at = entry.indexOf('=')
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
}

function healthOf(status: string | undefined): Container['health'] {
  return status === 'starting' || status === 'healthy' || status === 'unhealthy' ? status : undefined
}

const MS_NS = 1e6

// The engine says 0 for its own defaults.
function healthcheckOf(check: Docker.HealthConfig | undefined): Healthcheck | undefined {
  const { Test: test = [], Interval, Timeout, Retries, StartPeriod, StartInterval } = check ?? {}
  if (test.length === 0 || test[0] === 'NONE') return undefined
  return {
    test,
    intervalMs: (Interval || 30_000 * MS_NS) / MS_NS,
    timeoutMs: (Timeout || 30_000 * MS_NS) / MS_NS,
    retries: Retries || 3,
    startPeriodMs: (StartPeriod ?? 0) / MS_NS,
    startIntervalMs: (StartInterval ?? 0) / MS_NS,
  }
}
