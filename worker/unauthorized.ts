// How long a 401 takes: as long for whoever does not exist as for whoever is only wrong.

/**
 * No 401 leaves earlier than this after its request had come whole. The hub of a host that nobody has enrolled starts cold (5 to 30 ms
 * here), that of a known one is often awake (1 ms): without this, whoever has a clock could ask which hosts there are.
 */
export const UNAUTHORIZED_MS_MIN = 100

export function untilUnauthorizedMayLeave(cameAt: number): Promise<void> {
  const leftMs = Math.max(0, cameAt + UNAUTHORIZED_MS_MIN - Date.now())
  return new Promise((resolve) => void setTimeout(resolve, leftMs))
}
