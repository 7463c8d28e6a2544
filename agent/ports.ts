// What the agent needs of the world, each in the few methods that are called. Only adapters/ knows dockerode, child processes and
// files; every wait takes an AbortSignal, every failure is thrown as a Problem.

/** A compose project, by the files that it is made of. */
export interface ComposeProject {
  /** As ropeway.yml calls the stack. */
  readonly name: string
  /** Absolute paths, as for `docker compose -f`; the first one's folder is the project's. */
  readonly compose: readonly string[]
  /** As for `docker compose -p`; undefined: by the files and their folder. */
  readonly project: string | undefined
  /** Absolute paths, as for `docker compose --env-file`; undefined: those that its newest container was started with. */
  readonly envFiles: readonly string[] | undefined
  /** As for `docker compose --profile`. */
  readonly profiles: readonly string[]
}

export interface Container {
  readonly id: string
  readonly name: string
  readonly service: string
  /** The image's ID, `sha256:…`. */
  readonly imageId: string
  /** The name of the image, as the container was created from it. */
  readonly image: string
  readonly env: Readonly<Record<string, string>>
  readonly state: 'created' | 'running' | 'restarting' | 'exited' | 'dead' | 'paused' | 'removing'
  readonly exitCode: number
  readonly restarts: number
  readonly startedAt: string
  /** By Docker's own healthcheck; undefined where none is defined. */
  readonly health: 'starting' | 'healthy' | 'unhealthy' | undefined
  /** The healthcheck itself; undefined where none is defined. */
  readonly healthcheck?: Healthcheck | undefined
  /** Process id of PID 1 as the engine's host sees it, 0 when not running. */
  readonly pid: number
  /** Its addresses in each network, by the network's name: IPv4 before IPv6, as it has them. */
  readonly addresses: Readonly<Record<string, readonly string[]>>
  /** Names by which other containers of a network reach it. */
  readonly aliases: readonly string[]
  readonly mounts: readonly Mount[]
  /** compose's hash of the service's definition when it made this container. */
  readonly configHash: string | undefined
  /** The compose files that it was made from, as absolute paths. */
  readonly composeFiles: readonly string[]
  /** The files that were named by `--env-file`, as absolute paths; none where compose read `.env` by itself. */
  readonly envFiles: readonly string[]
}

/** Docker's own healthcheck, as the container has it. */
export interface Healthcheck {
  /** `CMD` and a command, or `CMD-SHELL` and a line for the shell. */
  readonly test: readonly string[]
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly retries: number
  readonly startPeriodMs: number
  /** The interval within the start period; 0 where that is the usual one. */
  readonly startIntervalMs: number
}

export interface Mount {
  readonly source: string
  readonly target: string
}

export interface Image {
  readonly id: string
  /** `repository@sha256:…`, one for each repository it was pulled from or pushed to. */
  readonly digests: readonly string[]
  /**
   * As `digests`, but nobody except the registry knows whether it has them. A containerd image store without `Identity` makes a digest of every name,
   * also where the image was built here, and does not tell which. Empty on any other.
   */
  readonly unproven: readonly string[]
  /** `repository:tag`, as the host names it today. */
  readonly tags: readonly string[]
  /** As `linux/amd64`. */
  readonly platform: string
}

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly title: string
}

/** Where a connection goes to: an IPv4 or IPv6 address, and a port. */
export interface Remote {
  readonly ip: string
  readonly port: number
}

/** The containers of the engine. */
export interface Containers {
  /** The containers of a compose project, running or not, without one-off ones: all, or those of some services. */
  containers(project: string, signal: AbortSignal, services?: readonly string[]): Promise<Container[]>
  /** The `--env-file` files that the newest container was made with, of those made from these compose files. */
  envFiles(
    composeFiles: readonly string[],
    project: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly string[]>
  /** One container by its ID or name, as it is now, or undefined when there is none. */
  container(id: string, signal: AbortSignal): Promise<Container | undefined>
  /** Starts a container that does not run. */
  start(id: string, signal: AbortSignal): Promise<void>
  /** Stops a container by its own signal and grace time. Resolves once it has stopped, also where it is gone or does not run. */
  stop(id: string, signal: AbortSignal): Promise<void>
  rename(id: string, name: string, signal: AbortSignal): Promise<void>
  /** Removes a container, running or not. Resolves also where it is gone already. */
  remove(id: string, signal: AbortSignal): Promise<void>
  logs(id: string, lines: number, signal: AbortSignal): Promise<string[]>
  /** What a container has written to its standard output since a time (milliseconds since 1970): at most the last LOG_BYTES_MAX. */
  outputSince(id: string, sinceMs: number, signal: AbortSignal): Promise<string>
}

/** The engine's images, and the registries behind it. */
export interface Images {
  image(ref: string, signal: AbortSignal): Promise<Image | undefined>
  /** The host's own platform, as `linux/amd64`. */
  platform(signal: AbortSignal): Promise<string>
  /** Lets `repository:tag` name this image on the host. */
  tag(id: string, ref: string, signal: AbortSignal): Promise<void>
  /**
   * Pulls with the host's own docker login. A failure that passes by itself, as a registry's 503, is tried again. Throws `image-not-found`,
   * `platform-missing`, `pull-failed` or `engine-unreachable`.
   */
  pull(
    ref: string,
    onProgress: (progress: { done: number; layers: number }) => void,
    signal: AbortSignal,
  ): Promise<void>
  /**
   * Whether the registry has this `repository@sha256:…`. That content is here already, so nothing else can come of it. Throws as `pull` where the
   * registry does not say.
   */
  isInRegistry(digest: string, signal: AbortSignal): Promise<boolean>
  /** The IDs of the images that any container of the engine was made from, whatever its project and state. */
  imagesInUse(signal: AbortSignal): Promise<ReadonlySet<string>>
  /**
   * Takes a name (`repository:tag`, `repository@sha256:…`) off an image, which goes with its last name. False when nothing has it, or a container
   * keeps the image.
   */
  untag(ref: string, signal: AbortSignal): Promise<boolean>
}

/** What goes on inside a container. */
export interface Inside {
  processes(container: Container, signal: AbortSignal): Promise<Process[]>
  /** Runs a program in a container. `stdout` byte for byte, one character a byte (`decoded` makes text of it); `stderr` as text. */
  exec(
    id: string,
    argv: readonly string[],
    signal: AbortSignal,
  ): Promise<{ exitCode: number; stdout: string; stderr: string }>
  /** A file as the container's processes see it, one character a byte. */
  readFile(container: Container, path: string, signal: AbortSignal): Promise<string>
  /** Sends SIGHUP to the container's PID 1. */
  hangUp(id: string, signal: AbortSignal): Promise<void>
  /** How many ESTABLISHED TCP connections there are from within the container's network to these, at one moment. */
  connections(container: Container, remotes: readonly Remote[], signal: AbortSignal): Promise<number>
}

/** The Docker engine. */
export interface Engine extends Containers, Images, Inside {
  /** Whether it answers. Throws `engine-unreachable`. */
  ping(signal: AbortSignal): Promise<void>
}

/** What `docker compose config` says of a stack. */
export interface ComposeModel {
  readonly project: string
  readonly services: Readonly<Record<string, ComposeService>>
  /** Everything else (networks, volumes, …) but extensions, to compare only. */
  readonly rest: unknown
}

export interface ComposeService {
  readonly image: string | undefined
  readonly env: Readonly<Record<string, string | null>>
  readonly mounts: readonly Mount[]
  /** The whole definition, to compare only. */
  readonly definition: unknown
  /** Its uses of variables that are not set, which compose took for blank. Only of a model with no texts replaced. */
  readonly blanks: readonly Blank[]
}

/** A use of a variable that is not set. */
export interface Blank {
  readonly variable: string
  /** The variable of the service's environment that is made of it; undefined where it is used anywhere else. */
  readonly env: string | undefined
}

export interface Compose {
  /** The model of the stack's files, some of them replaced by other texts. Throws `compose-invalid`. */
  model(
    stack: ComposeProject,
    replaced: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ComposeModel>
  /** compose's own hashes, by service, for a container that is as its files say: by a plain `up`, then by `up --no-deps` where that differs. */
  hashes(stack: ComposeProject, signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>>
  /**
   * Makes one service run as its files say, and pulls nothing. `recreate`: even where nothing changes. What it depends on, and what depends on it, is
   * neither started, stopped nor recreated. The leftovers of an interrupted recreate are cleared up first, and the container has its own name
   * afterwards. Throws `compose-failed`.
   */
  up(
    stack: ComposeProject,
    service: string,
    signal: AbortSignal,
    options?: { recreate?: boolean },
  ): Promise<void>
  /**
   * Runs a command in a one-off container of a service, under this name. `replaced`: texts in the place of files. Starts nothing else, and pulls
   * nothing. Resolves with the exit code and the last lines of output. An abort may leave the container behind.
   */
  run(
    stack: ComposeProject,
    service: string,
    options: { command: readonly string[]; name: string; replaced: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<{ exitCode: number; log: string[] }>
  /** Ends the calls for this stack that an earlier agent process has left running. Resolves once they are gone. */
  endOrphans(stack: ComposeProject, signal: AbortSignal): Promise<void>
}

/** How a file's bytes become a string: as UTF-8 with its byte order mark, if any; or one character a byte, as nginx's texts are carried. */
export type Encoding = 'utf-8' | 'bytes'

export interface Files {
  /** Throws `file-unusable`; `compose-invalid` for a file that is to be UTF-8 and is not: it could not be written back as it was. */
  read(path: string, encoding?: Encoding): Promise<string>
  /** Throws `file-unusable` where a write would not be allowed: to the file for `in-place`, to its folder for `rename`. Writes nothing. */
  checkWritable(path: string, how: 'in-place' | 'rename'): Promise<void>
  /**
   * Replaces a file's content durably: in place (same inode) for a file that is bind-mounted by itself, else by an atomic rename. Throws
   * `file-unusable`.
   */
  write(path: string, text: string, how: 'in-place' | 'rename', encoding?: Encoding): Promise<void>
  /** Removes what a write that was killed has left beside the file. */
  tidy(path: string): Promise<void>
  /** The path with every link followed. */
  real(path: string): Promise<string>
}

export interface Locks {
  /**
   * Takes the one lock that a stack has on this host, whichever agent and data directory asks. Only a live process holds it. Throws `stack-busy`,
   * which says who has it and since when. `holder`: a few words for whoever finds it taken.
   */
  take(stack: ComposeProject, holder: string): Promise<{ release(): Promise<void> }>
}

export interface Http {
  /** One GET with a fresh connection; its status, or the reason why there was none. Follows no redirect. */
  get(
    target: { ip: string; port: number; path: string; host: string; tls?: boolean },
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{ status: number } | { fault: string }>
  /** One TCP connection, closed at once: the reason why there was none, or undefined. */
  connect(
    target: { ip: string; port: number },
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<string | undefined>
}

export interface Clock {
  /** Milliseconds since 1970, by the machine's clock, which somebody may set. */
  now(): number
  /** Milliseconds since some moment, whatever becomes of that clock: for every wait and measurement. */
  elapsed(): number
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/** The host that the agent runs on. */
export interface HostPorts {
  readonly engine: Engine
  readonly compose: Compose
  readonly files: Files
  readonly http: Http
  readonly locks: Locks
  readonly clock: Clock
}
