// Every limit that both sides must agree on: its unit is its last word, the comment says why that number and what happens at it.

/** A hook's body. Our own body is under 1 KiB, and what was signed must fit into one frame as base64. Longer: 413, once read this far. */
export const HOOK_BODY_BYTES_MAX = 32 * 1024

/** A registry's notification, which no frame carries: GitHub's describes a whole repository. Longer: 413. */
export const PUSH_BODY_BYTES_MAX = 256 * 1024
/** One push is many events, of each platform and tag: so long must it be quiet before it is deployed, where ropeway.yml does not say. */
export const SETTLE_MS = 2000
/** However many events come, a push waits no longer than this. Also the longest `settle` of a trigger. */
export const SETTLE_MS_MAX = 30_000
/** Tags and patterns of one trigger: all of them go to the relay with every hello. */
export const TAG_RULES_MAX = 32

/** One socket frame either way: twice the largest honest one, a plan of 64 instances. More closes the socket with 1009. */
export const FRAME_BYTES_MAX = 64 * 1024

/** Steps that the events of one deploy name. A roll of 64 instances and its way back have some 600. An event beyond it is malformed. */
export const STEPS_MAX = 10_000

/** One event in a frame, with room around it. A longer one is shortened before it is stored (agent/daemon/journal/shorten.ts): it must never be stuck. */
export const EVENT_BYTES_MAX = FRAME_BYTES_MAX - 2048

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
/** Hints say only that something may be new: an hour later the next one will have said it again. */
export const HINT_TTL_MS = 3600_000
/** The longest `ttl` of a trigger. The agent's journal must remember ids for longer than a request can be repeated. */
export const REQUEST_TTL_MS_MAX = 7 * 24 * 3600_000

/** The agent says `received` within a second. What it has not by then is offered again, then after twice the time each. */
export const OFFER_AGAIN_MS = 30_000
export const OFFER_AGAIN_MS_MAX = 3600_000
/** Offers of one request that the agent never takes, over connections or time: some three hours. Then it is the request's own fault. */
export const OFFERS_MAX = 10

/** Requests of one host that are not over. With one waiting for each stack this is never seen; beyond it: 429. */
export const PENDING_MAX = 256
/** Requests of one address to one host in a minute, and its refused credentials at any: no honest one comes near. Beyond: 429, unasked. */
export const SOURCE_REQUESTS_PER_MINUTE = 1800
export const SOURCE_FAILURES_PER_MINUTE = 600

/** Verified requests of one trigger and of one host in a minute, all of which may come at once. Overridden by wrangler.toml. Beyond: 429. */
export const TRIGGER_REQUESTS_PER_MINUTE = 60
export const HOST_REQUESTS_PER_MINUTE = 240

/** Log lines of a failing container that an event carries, and the length of one: a screenful. */
export const LOG_LINES_MAX = 20
export const LOG_LINE_CHARS_MAX = 300

/** Finished deploys that the hub keeps for each host, with how each ended; older ones are deleted. 10 a day for 50 days. */
export const DEPLOYS_KEPT_MAX = 500
export const DEPLOYS_KEPT_MS = 90 * 24 * 3600_000
/** Finished deploys whose whole log is kept; of older ones the first and the last event. 10 a day for ten days, some 2 MB. */
export const LOGS_KEPT_MAX = 100
/** Looking for what is too old reads all that is kept. Done at every so many deploys, of which as many more may therefore be kept. */
export const TRIM_EVERY_DEPLOYS = 20
/** Events of one deploy. A roll of 64 instances has some 800; of a chattier one the oldest, but not the first, make room. */
export const EVENTS_KEPT_MAX = 1000

/** Deploys in one answer of the list route. */
export const DEPLOYS_LISTED_MAX = 100

/** A host, stack or trigger name: safe in a URL, a file name and a Durable Object's name without any escaping. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Tokens that are revoked before they expire: the list goes out with every hello. Whoever needs more rotates the key. */
export const TOKENS_REVOKED_MAX = 250

/** A browser's session, made from a token: long enough to watch a roll, then it is made again. */
export const SESSION_SECONDS = 15 * 60

/** A host's keys that count at one time: the newest, and those that it replaced and still vouches for. */
export const HOST_KEYS_MAX = 4

/** Requests by a CI job's token wait this long for the agent: who started the job has seen it fail by then, and issuers replace their keys. */
export const CI_TTL_MS = 3600_000
/** A token that has expired still finds the deploy that it asked for, until this long after its end: time for a job to come back. */
export const CI_FOLLOWED_MS_MAX = 15 * 60_000
/** A CI job's token. GitHub's have some 1,500 characters, GitLab's 2,500. A longer one is refused unread. */
export const CI_TOKEN_CHARS_MAX = 8192
/** The longest life of one, from `iat` to `exp`: a GitLab job's time limit. One that lives longer is refused. */
export const CI_TOKEN_SECONDS_MAX = 24 * 3600
/** What an issuer's clock may differ by: they are kept well, and their tokens live for minutes. */
export const ISSUER_CLOCK_SECONDS_MAX = 30
/** Claims that a trigger demands, values of one, and the length of a value: all of them go to the relay with every hello. */
export const CLAIMS_MAX = 16
export const CLAIM_VALUES_MAX = 16
export const CLAIM_CHARS_MAX = 256

/** An issuer's keys are looked up again when they are this old. */
export const ISSUER_KEYS_FRESH_MS = 600_000
/** While the issuer does not answer, its last keys go on counting for this long: two days of outage, and no longer for a key it took back. */
export const ISSUER_KEYS_STALE_MS_MAX = 48 * 3600_000
/** However many unknown keys are asked for, and however often it fails, an issuer is asked once in this time. */
export const ISSUER_COOLDOWN_MS = 30_000
/** An issuer's answer: deadline and size. Real ones take 100 ms and have 2 to 10 KiB. Beyond: as if it had not answered. */
export const ISSUER_ANSWER_MS_MAX = 3000
export const ISSUER_ANSWER_BYTES_MAX = 64 * 1024

/** Users, channels or teams in one list of a chat, chats of a host: all of them go to the relay with every hello. */
export const CHAT_IDS_MAX = 64
export const CHATS_MAX = 16
/** Who asks by chat stands there and waits: an hour later the answer would be news to nobody. */
export const CHAT_TTL_MS = 3600_000
/** What a platform sends of one command or click has 1 to 8 KiB. Two of them, a request and its approval, must fit into one frame as base64. */
export const CHAT_BODY_BYTES_MAX = 20 * 1024
/** How long a request waits for somebody to approve it: after that whoever asked has gone on to something else. */
export const APPROVAL_MS_MAX = 30 * 60_000
/** Requests of a host that wait for approval. Nobody looks through more. */
export const APPROVALS_MAX = 64
