// Every limit that both sides must agree on: its unit is its last word, the comment says why that number and what happens at it.

/** A hook's body. Our own body is under 1 KiB; a larger one is answered 413 once it was read this far. */
export const HOOK_BODY_BYTES_MAX = 256 * 1024

/** One socket frame either way. Far above any honest frame (a plan of 32 instances is 20 KiB); more closes the socket with 1009. */
export const FRAME_BYTES_MAX = 1024 * 1024

/** Clock difference that a signed request may have, either way: the tolerance of every Standard Webhooks library. Beyond it: 401. */
export const SIGNATURE_AGE_SECONDS_MAX = 300

/** Signatures in one header: enough for a rotation of secrets, too few to make verification a burden. More is refused. */
export const SIGNATURES_MAX = 5

/** A trigger secret's key. 24 bytes is Standard Webhooks' own lower bound; a shorter one stops the agent at start. */
export const SECRET_BYTES_MIN = 24
export const SECRET_BYTES_MAX = 64

/** Environment variables in one request, and the length of one value: room for any version string, none for a payload. */
export const REQUEST_ENV_KEYS_MAX = 32
export const REQUEST_ENV_VALUE_CHARS_MAX = 4096
export const REQUEST_REASON_CHARS_MAX = 500

/** The agent sends `ping` this often. Cloudflare's edge cuts a silent socket after 100 s; the answer does not wake the hub. */
export const PING_INTERVAL_MS = 25_000
/** Silence after which either side takes the other for gone: two pings missed, and a margin. */
export const SILENCE_MS_MAX = 60_000

/** Signed requests that wait for an absent agent expire after this: a day later nobody expects the deploy any more. */
export const REQUEST_TTL_MS = 24 * 3600_000

/** Log lines of a failing container that an event carries, and the length of one: a screenful. */
export const LOG_LINES_MAX = 20
export const LOG_LINE_CHARS_MAX = 300

/** Finished deploys that the hub keeps for each host, with their events; older ones are deleted. 10 a day for 50 days. */
export const DEPLOYS_KEPT_MAX = 500

/** Deploys in one answer of the list route. */
export const DEPLOYS_LISTED_MAX = 100

/** A host, stack or trigger name: safe in a URL, a file name and a Durable Object's name without any escaping. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/
