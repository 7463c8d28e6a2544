// Files of nginx as the tests name them.

import { readFileSync } from 'node:fs'
import type { ConfigFile } from '../../../../agent/nginx/config/dump.ts'

export const seed = readFileSync(new URL('../../fixtures/nginx.conf', import.meta.url), 'utf8')
export const MAIN = '/etc/nginx/nginx.conf'

export const main = (text: string, ...others: ConfigFile[]) => [{ path: MAIN, text }, ...others]
