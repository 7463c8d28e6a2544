// Tags that are versions, by Semantic Versioning. https://semver.org

import compare from 'semver/functions/compare.js'
import parse from 'semver/functions/parse.js'
import satisfies from 'semver/functions/satisfies.js'
import validRange from 'semver/ranges/valid.js'
import { parseImage } from './image.ts'

/** Whether a text is a range as `^1.2`, `~1.2.3`, `>=1.2 <3` or `1.x || 2.x`. */
export function isRange(text: string): boolean {
  return text.trim() !== '' && validRange(text) !== null
}

/** Whether a tag is a whole version, as `1.2.3` or `v1.2.3`, within a range. A pre-release is, where the range names one of that version. */
export function isInRange(tag: string, range: string): boolean {
  return satisfies(tag, range)
}

/** Whether an image is of a lower version than another of the same repository, by their tags. */
export function isDowngrade(image = '', than = ''): boolean {
  const [one, other] = [parseImage(image), parseImage(than)]
  return one?.repository === other?.repository && isLower(one?.tag, other?.tag)
}

/** Whether a tag is a lower version than another. Of what is no version nobody can say. */
export function isLower(tag: string | undefined, than: string | undefined): boolean {
  const [one, other] = [parse(tag), parse(than)]
  return one !== null && other !== null && compare(one, other) < 0
}
