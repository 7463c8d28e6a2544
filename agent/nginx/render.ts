// The text of nginx's file by a route: always made from the user's own, so `as written` is that text, byte for byte. Pure.

import type { Route } from '../../shared/plan.ts'
import { outOf } from '../roll/route.ts'
import type { NginxSeen } from './seen.ts'
import { editUpstream } from './config/upstream.ts'

/** While any member is out, those in `nowhere` are out as well, since nginx cannot resolve their names. Throws `upstream-unknown`. */
export function render(
  { file, upstream, servers }: Pick<NginxSeen, 'file' | 'upstream' | 'servers'>,
  route: Route,
  nowhere: ReadonlySet<string>,
): string {
  const out = outOf(route)
  if (out.length === 0) return file.text
  const addressesOf = (names: Iterable<string>) =>
    new Set([...names].flatMap((name) => servers[name]?.map(({ address }) => address) ?? []))
  const [gone, unresolved] = [addressesOf([...out, ...nowhere]), addressesOf(nowhere)]
  return editUpstream(
    file.text,
    upstream.name,
    ({ address }) => gone.has(address),
    ({ address }) => unresolved.has(address),
  )
}
